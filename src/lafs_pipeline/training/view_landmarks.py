"""At which landmarks the patches of every view are cut (LAFS, arXiv 2403.08161, sections 3.2 and 3.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.stage import MicroBatch
from lafs_pipeline.views.landmarks import (
    draw_subsets,
    perturb_landmarks,
    take_landmarks,
    transform_landmarks,
)
from lafs_pipeline.views.parameters import ViewSettings


class TokenLandmarks(NamedTuple):
    """Where the tokens of some views are cut, and at which landmarks.

    Attributes:
        points: (V * b, k, 2) pixels, view-major.
        indices: (V * b, k) int64 numbers of the landmarks; None where a view has all of them in order.
    """

    points: Tensor
    indices: Tensor | None


@torch.no_grad()
def predict_landmarks(network: LandmarkNetwork, clean: Tensor) -> Tensor:
    """Landmarks (V * b, N, 2) of the clean views (V * b, 3, 112, 112), in one pass.

    Args:
        network: frozen, in eval mode.
        clean: views in [-1, 1].
    """
    return network(clean)


def move_landmarks(landmarks: Tensor, boxes: Tensor, flips: Tensor, size: int) -> Tensor:
    """Landmarks of images and of their mirror images, moved into the views cut from them.

    Args:
        landmarks: (b, 2, N, 2) pixels; those of the image, then those of its mirror image.
        boxes: (b, V, 4) crop x, y, width, height.
        flips: (b, V) whether the view is mirrored.
        size: side of image and views in pixels.

    Returns:
        (V * b, N, 2), view-major.
    """
    x, y, width, height = boxes.unbind(-1)
    seen = torch.where(flips, size - x - width, x)
    boxes = torch.stack((seen, y, width, height), dim=-1).transpose(0, 1).flatten(0, 1)
    sources = landmarks.gather(1, flips.long()[..., None, None].expand(-1, -1, *landmarks.shape[2:]))
    unmirrored = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return transform_landmarks(sources.transpose(0, 1).flatten(0, 1), boxes, unmirrored, size)


def augment_landmarks(
    landmarks: Tensor, options: ViewSettings, part: MicroBatch
) -> tuple[TokenLandmarks, TokenLandmarks]:
    """Perturb all landmarks, shuffle those of global views, draw a subset (or keep all) for local views.

    Args:
        landmarks: (V * b, N, 2), view-major, global views first.
        options: noise and subsets.
        part: whose rows are the b samples.

    Returns:
        Those of the G global views (N each) and of the L local views.
    """
    device, count = landmarks.device, landmarks.shape[1]
    whole, local, batch = options.global_views, options.local_views, part.batch_size
    rows = torch.from_numpy(part.rows).to(device, non_blocking=True)
    generator = torch.Generator(device).manual_seed(derive_seed(part.seed, "landmarks"))

    def of_part(drawn: Tensor) -> Tensor:
        return drawn.unflatten(0, (-1, batch))[:, rows].flatten(0, 1)

    origin = torch.zeros((whole + local) * batch, count, 2, device=device)
    landmarks = landmarks + of_part(perturb_landmarks(origin, options.landmark_sigma, generator))
    whole_points, local_points = landmarks.split([whole * len(rows), local * len(rows)])
    order = subset = None
    if options.local_landmarks is not None:
        subset = of_part(
            draw_subsets(local * batch, count, options.local_landmarks, generator, options.with_replacement)
        )
        local_points = take_landmarks(local_points, subset)
    if options.shuffle_global:
        order = of_part(draw_subsets(whole * batch, count, count, generator, with_replacement=False))
        whole_points = take_landmarks(whole_points, order)
    return TokenLandmarks(whole_points, order), TokenLandmarks(local_points, subset)
