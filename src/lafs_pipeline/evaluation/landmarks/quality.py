"""How good landmarks are that nobody labeled: stable when the image changes, and spread over the face.

The landmarks of Part fViT (arXiv 2212.00057) have no true places. What can be measured is whether the same
parts of a face are found again in a changed image of it, whether landmarks cover the face, and whether they
move from face to face. All distances are in pixels of the 112 x 112 image.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lafs_pipeline.evaluation.landmarks.truth import (
    AnnotatedFaces,
    faces_with_points,
    judge_landmarks,
    read_annotated_faces,
)
from lafs_pipeline.evaluation.settings import LandmarkQualitySettings
from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import manifest_points
from lafs_pipeline.faces.subsets import evenly_spaced
from lafs_pipeline.models.embedding import map_faces
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.runtime.processes import local_device
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.landmarks import restore_landmarks
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import ViewParameters, ViewSettings, draw_view_parameters
from lafs_pipeline.views.render import render_views, resized_crop

CHANGES = ("flip", "noise", "appearance", "crop")
"""What is done to a face, in the order of :class:`ChangedFaces`."""
CELLS = 7
"""Rows and columns of the grid over the image that landmarks should cover."""
VIEW = ViewSettings(local_views=0, flip_probability=0.0)
"""The crop and the appearance are those of pretraining's first global view."""
WHOLE = (0, 0, FACE_SIZE, FACE_SIZE)
BATCH = 16
SHOWN_FACES = 12


class ChangedFaces(Dataset):
    """Every face five times: as it is, mirrored, noisy, with another appearance, and cropped."""

    def __init__(self, faces: FaceImages, noise: float, seed: int) -> None:
        self.faces, self.noise, self.seed = faces, noise, seed

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> np.ndarray:
        """(5, 112, 112, 3) uint8."""
        image, view = self.faces[index], self._draw(index)
        noise = random_generator(self.seed, "landmark noise", index).normal(0, self.noise, image.shape)
        whole = replace(view, boxes=np.broadcast_to(WHOLE, view.boxes.shape))
        return np.stack(
            [
                image,
                image[:, ::-1],
                (image + noise).round().clip(0, 255).astype(np.uint8),
                render_views(image, whole, clean=False).global_appearance[0],
                resized_crop(image, view.boxes[0].tolist(), FACE_SIZE, flip=False),
            ]
        )

    def crops(self) -> Tensor:
        """(n, 4) x, y, width and height of the crops in pixels."""
        return torch.from_numpy(np.stack([self._draw(index).boxes[0] for index in range(len(self))]))

    def _draw(self, index: int) -> ViewParameters:
        generator = random_generator(self.seed, "landmark views", index)
        return draw_view_parameters(VIEW, FACE_SIZE, FACE_SIZE, generator)


def compare_landmarks(
    networks: Mapping[str, LandmarkNetwork],
    manifest: pd.DataFrame,
    options: LandmarkQualitySettings,
    seed: int,
) -> tuple[pd.DataFrame, np.ndarray, dict[str, np.ndarray]]:
    """Measure landmark networks on the same images, and find their landmarks on the same faces.

    Returns:
        One row per network: training (its name), landmarks, faces, the values of :func:`landmark_quality`
        and, where points are known, of :func:`judge_landmarks`. Some of the faces (k, 112, 112, 3) uint8,
        and by title of a network its landmarks (k, N, 2) on them in pixels.
    """
    chosen = manifest.iloc[evenly_spaced(len(manifest), options.faces)]
    changed = ChangedFaces(FaceImages(chosen), options.noise, seed)
    shown = evenly_spaced(len(changed), SHOWN_FACES)
    annotated = _annotated(changed.faces, chosen, options)
    rows, overlays = [], {}
    for name, network in networks.items():
        landmarks = _find(network, changed)
        values = landmark_quality(landmarks, changed.crops())
        if annotated is not None:
            values |= judge_landmarks(partial(_find_in_images, network), annotated, seed)
        rows.append({"training": name, "landmarks": landmarks.shape[2], "faces": len(changed), **values})
        overlays[_title(name, values)] = landmarks[shown, 0].numpy()
    return pd.DataFrame(rows), changed.faces.stack(shown), overlays


def _annotated(
    faces: FaceImages, chosen: pd.DataFrame, options: LandmarkQualitySettings
) -> AnnotatedFaces | None:
    if options.annotations is not None:
        return read_annotated_faces(options.annotations)
    return faces_with_points(faces.stack(), manifest_points(chosen))


@torch.inference_mode()
def _find_in_images(network: LandmarkNetwork, images: np.ndarray) -> np.ndarray:
    """Landmarks (n, N, 2) of images (n, 112, 112, 3) uint8, with the network where it is."""
    device = next(network.parameters()).device
    batches = torch.from_numpy(images).split(64)
    return np.concatenate([network(to_input(batch.to(device))).cpu().numpy() for batch in batches])


def _find(network: LandmarkNetwork, changed: ChangedFaces) -> Tensor:
    """Landmarks (n, 5, N, 2) of all images."""
    device = local_device()
    network = network.to(device).eval()
    found = map_faces(
        lambda images: network(images.flatten(0, 1)).unflatten(0, images.shape[:2]),
        changed,
        device,
        BATCH,
        title="landmark quality",
    )
    return torch.from_numpy(found)


def _title(name: str, values: dict[str, float]) -> str:
    moved = ", ".join(f"{change} {values[f'{change}_px']:.1f}" for change in CHANGES)
    title = f"{name} training, {values['covered']:.0%} of the image covered;\nmoved by {moved} px"
    if "points_error" in values:
        title += (
            f"\npoints told to {values['points_error']:.1%} of the eye distance (mean shape "
            f"{values['mean_shape_error']:.1%})"
        )
    return title


def landmark_quality(landmarks: Tensor, crops: Tensor) -> dict[str, float]:
    """Stability under every change, and spread.

    Landmarks of the changed image are moved back to the unchanged one and held against its own: those of the
    same number, and the nearest ones. In the mirror image, numbers may stand for other parts of the face, so
    only the nearest ones need agree there; where landmarks lie close together, however, the nearest one is
    near whatever the network does. Of a crop, only those landmarks are looked for that it still shows.

    Args:
        landmarks: (n, 5, N, 2) pixels of each image of :class:`ChangedFaces`, in its own coordinates.
        crops: (n, 4) x, y, width and height of the last image.

    Returns:
        Means over faces and landmarks. For every one of :data:`CHANGES`: `<change>_px` to the landmark of the
        same number, `<change>_nearest_px` to the nearest one (from either side, averaged).
        `crop_if_still_px`, `crop_if_still_nearest_px`: those of landmarks that ignore the crop.
        `covered` (0..1): share of 7 x 7 cells of the image that hold a landmark. `neighbor_px`: distance of
        a landmark to its nearest neighbor. `spread_over_faces_px`: standard deviation of a landmark's place
        over the faces, sqrt(var x + var y); 0 for a network that ignores the image.
    """
    own = landmarks[:, 0]
    whole = torch.tensor(WHOLE).expand_as(crops)
    changes = {
        change: (landmarks[:, number], crops if change == "crop" else whole, change == "flip")
        for number, change in enumerate(CHANGES, start=1)
    }
    changes["crop_if_still"] = (own, crops, False)
    values: dict[str, float] = {}
    for change, (found, boxes, mirrored) in changes.items():
        flips = torch.full((len(own),), mirrored)
        restored = restore_landmarks(found, boxes, flips, FACE_SIZE)
        same, nearest = _distances(restored, own, _inside(own, boxes))
        values |= {f"{change}_px": same, f"{change}_nearest_px": nearest}
    return values | {
        "covered": _covered(own),
        "neighbor_px": float(_between(own, own).kthvalue(2, dim=2).values.mean()),
        "spread_over_faces_px": float(own.var(dim=0).sum(dim=1).sqrt().mean()),
    }


def _between(first: Tensor, second: Tensor) -> Tensor:
    """Distances (n, N, N) of every landmark to every one."""
    # Through matrix products, equal points would be 0.01 pixels apart.
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _distances(found: Tensor, own: Tensor, counts: Tensor) -> tuple[float, float]:
    """Mean distance to the landmark of the same number, and to the nearest one.

    Args:
        found: (n, N, 2).
        own: (n, N, 2).
        counts: (n, N) which of `own` are to be found.
    """
    distances = _between(found, own)
    same = distances.diagonal(dim1=1, dim2=2)[counts].mean()
    nearest = distances.amin(dim=2).mean() + distances.amin(dim=1)[counts].mean()
    return float(same), float(nearest / 2)


def _inside(landmarks: Tensor, boxes: Tensor) -> Tensor:
    """(n, N) whether a landmark lies in its image's box."""
    corners, sides = boxes[:, None].split(2, dim=2)
    return ((landmarks >= corners) & (landmarks <= corners + sides)).all(dim=2)


def _covered(landmarks: Tensor) -> float:
    columns, rows = (landmarks * CELLS / FACE_SIZE).long().clamp(0, CELLS - 1).unbind(-1)
    hit = torch.zeros(len(landmarks), CELLS**2)
    return float(hit.scatter_(1, rows * CELLS + columns, 1.0).mean())
