"""Landmarks that nobody labeled, held against points that somebody annotated.

How much landmarks tell of the shape of a face is the error of a linear regression from them to annotated
points, on faces that the regression has not seen (Thewlis et al., ICCV 2017, arXiv 1705.02193, section 4). A
network that ignores the image scores what the mean shape scores.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from lafs_pipeline.faces.alignment import FACE_SIZE, align_face, similarity_transform, transform_points
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.sources.source import IMAGE_SUFFIXES, read_image_file
from lafs_pipeline.views.parameters import WarpSettings
from lafs_pipeline.views.warps import draw_warp

FOLDS = 5
PENALTY = 10.0
"""Of the ridge regression, whose inputs have a standard deviation of 1."""
JITTER = WarpSettings(rotation=10.0, log_scale=0.1, shift=4.0, displacement=0.0)
IBUG_POINTS = 68
FIVE_OF_68 = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
"""Eyes, tip of the nose and corners of the mouth, each the mean of some of the 68 points."""


class AnnotatedFaces(NamedTuple):
    """Aligned faces with annotated points.

    Attributes:
        images: (n, 112, 112, 3) uint8 RGB.
        points: (n, P, 2) x and y in pixels.
        scale: (n,) pixels that errors are shares of: the distance of the outer corners of the eyes.
    """

    images: np.ndarray
    points: np.ndarray
    scale: np.ndarray


def read_annotated_faces(folder: Path | str) -> AnnotatedFaces:
    """Faces of a folder in the layout of 300-W: beside every image its 68 points in a file `.pts`.

    They are aligned to the ArcFace template by the points. Points are counted from 1, as 300-W does.

    Raises:
        LafsError: the folder, an image or a file of points is missing or damaged; names it.
    """
    folder = Path(folder)
    files = sorted(folder.glob("*.pts"))
    if len(files) < 2 * FOLDS:
        raise LafsError(
            f"{folder} holds {len(files)} .pts files; expected at least {2 * FOLDS} in 300-W's layout"
        )
    images, points = [], []
    for file in files:
        own = _read_pts(file)
        five = np.stack([own[part].mean(axis=0) for part in FIVE_OF_68])
        image = _image_beside(file)
        try:
            images.append(align_face(decode_image(read_image_file(image), "rgb"), five))
        except LafsError as error:
            raise LafsError(f"{image}: {error}") from error
        points.append(transform_points(similarity_transform(five), own))
    annotated = np.stack(points)
    return AnnotatedFaces(
        np.stack(images), annotated, np.linalg.norm(annotated[:, 36] - annotated[:, 45], axis=1)
    )


def _image_beside(file: Path) -> Path:
    found = [path for suffix in sorted(IMAGE_SUFFIXES) if (path := file.with_suffix(suffix)).exists()]
    if not found:
        raise LafsError(f"no image lies beside {file}; expected one of that name")
    return found[0]


def _read_pts(file: Path) -> np.ndarray:
    """The points (68, 2) of a file, counted from 0."""
    expected = f"expected {IBUG_POINTS} lines of x and y between braces"
    try:
        body = read_image_file(file).decode("ascii").partition("{")[2].partition("}")[0]
        points = np.array([line.split() for line in body.strip().splitlines()], np.float64)
    except (LafsError, UnicodeDecodeError, ValueError) as error:
        raise LafsError(f"{file}: {expected} ({error})") from error
    if points.shape != (IBUG_POINTS, 2) or not np.isfinite(points).all():
        raise LafsError(f"{file}: {expected}, found numbers of shape {points.shape}")
    return points - 1


def jittered(faces: AnnotatedFaces, seed: int) -> AnnotatedFaces:
    """The same faces turned (10 degrees), scaled (10 %) and shifted (4 px), as standard deviations."""
    warps = [
        draw_warp(JITTER, FACE_SIZE, random_generator(seed, "landmark jitter", index))
        for index in range(len(faces.images))
    ]
    images = np.stack([warp.apply(image) for warp, image in zip(warps, faces.images, strict=True)])
    points = np.stack([warp.move(own, FACE_SIZE) for warp, own in zip(warps, faces.points, strict=True)])
    return AnnotatedFaces(images, points, faces.scale)


def regression_error(landmarks: np.ndarray, faces: AnnotatedFaces) -> tuple[float, float]:
    """How well landmarks tell annotated points, cross-validated over faces.

    Args:
        landmarks: (n, N, 2) of the same faces.
        faces: n of them.

    Returns:
        Mean distance of predicted and annotated points as a share of the faces' scale, and that of the mean
        shape, which needs no landmarks.
    """
    inputs = landmarks.reshape(len(landmarks), -1).astype(np.float64)
    spread = inputs.std(axis=0).mean()
    inputs = (inputs - inputs.mean(axis=0)) / max(spread, 1e-6)
    targets = faces.points.reshape(len(inputs), -1)
    folds = KFold(FOLDS, shuffle=True, random_state=0)

    def error(features: np.ndarray) -> float:
        found = cross_val_predict(Ridge(PENALTY), features, targets, cv=folds)
        distances = np.linalg.norm((found - targets).reshape(faces.points.shape), axis=2)
        return float((distances.mean(axis=1) / faces.scale).mean())

    return error(inputs), error(np.zeros((len(inputs), 1)))


def faces_with_points(images: np.ndarray, points: np.ndarray) -> AnnotatedFaces | None:
    """Faces whose five points their source knows; None where these are too few to tell anything.

    Args:
        images: (n, 112, 112, 3) uint8 RGB.
        points: (n, 5, 2) pixels, eyes first, NaN where not known.
    """
    known = np.isfinite(points).all(axis=(1, 2))
    if known.sum() < 2 * FOLDS:
        return None
    images, points = images[known], points[known].astype(np.float64)
    return AnnotatedFaces(images, points, np.linalg.norm(points[:, 0] - points[:, 1], axis=1))


def judge_landmarks(
    find: Callable[[np.ndarray], np.ndarray], faces: AnnotatedFaces, seed: int
) -> dict[str, float]:
    """Regression errors of a network's landmarks, and those of the mean shape beside them.

    Args:
        find: images (n, 112, 112, 3) uint8 RGB -> landmarks (n, N, 2) in pixels.
        faces: aligned ones with annotated points.
        seed: of the jitter.

    Returns:
        Shares of the faces' scale (:class:`AnnotatedFaces`): `points_error`, `mean_shape_error`, and on
        jittered faces `jittered_points_error` and `jittered_mean_shape_error`.
    """
    moved = jittered(faces, seed)
    error, mean_shape = regression_error(find(faces.images), faces)
    jittered_error, jittered_mean_shape = regression_error(find(moved.images), moved)
    return {
        "points_error": error,
        "mean_shape_error": mean_shape,
        "jittered_points_error": jittered_error,
        "jittered_mean_shape_error": jittered_mean_shape,
    }
