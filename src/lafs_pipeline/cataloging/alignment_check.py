"""Whether points, images and colors are what a user says of them, before odd crops are stored."""

import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.alignment import (
    ARCFACE_TEMPLATE,
    FaceDetector,
    similarity_transform,
    transform_points,
)
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.faces.subsets import evenly_spaced
from lafs_pipeline.runtime.errors import LafsError

if TYPE_CHECKING:
    from lafs_pipeline.cataloging.planning import PlannedImages

logger = logging.getLogger(__name__)

SMALLEST_FACE = 16
"""Side in pixels below which an image holds no face that could be told from another."""
OUTSIDE = 0.1
LARGEST_RESIDUAL = 20.0
SWAPPED = [1, 0, 2, 4, 3]
SAMPLE = 16
FAR = 10.0
FEWEST, MOST_COLD = 8, 0.7
"""Of real photographs (CelebA, LFW, PINS) at most 1.4 % are bluer than red."""


def require_face_points(points: np.ndarray, width: int, height: int) -> None:
    """Refuse five points that are not those of a face in an image of this size.

    Over 21,000 annotated and detected faces of CelebA and LFW the largest residual is 15 px, and none fits
    better mirrored.

    Args:
        points: (5, 2) x, y in pixels.
        width: of the image.
        height: of the image.

    Raises:
        LafsError: the reason alone.
    """
    side = max(width, height)
    if np.isfinite(points).all():
        if np.abs(points).max() <= 2 < SMALLEST_FACE <= side:
            raise LafsError("its five points are fractions of the image; give them in pixels")
        if (points.min(axis=0) < -OUTSIDE * side).any() or (
            points.max(axis=0) > np.array([width, height]) + OUTSIDE * side
        ).any():
            low, high = points.min(axis=0), points.max(axis=0)
            raise LafsError(
                f"its five points lie outside the image of {width} x {height} pixels: x from {low[0]:.0f} to "
                f"{high[0]:.0f}, y from {low[1]:.0f} to {high[1]:.0f}"
            )
    residual, size = _fit(points)
    if _fit(points[SWAPPED])[0] < residual:
        raise LafsError(
            "its five points are mirrored: left and right (as seen in the image) or x and y are exchanged"
        )
    if residual > LARGEST_RESIDUAL:
        raise LafsError(
            f"its five points are not those of a face: they miss the template by {residual:.0f} pixels"
        )
    if size < SMALLEST_FACE:
        raise LafsError(
            f"its five points span a face of {size:.0f} pixels; at least {SMALLEST_FACE} are needed"
        )


def _fit(points: np.ndarray) -> tuple[float, float]:
    """Root mean square distance to the template in its pixels, and the side of the crop in the image's."""
    matrix = similarity_transform(points)
    moved = transform_points(matrix, np.asarray(points))
    residual = float(np.sqrt(((moved - ARCFACE_TEMPLATE) ** 2).sum(axis=1).mean()))
    return residual, FACE_SIZE / float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def check_aligned(planned: "PlannedImages") -> None:
    """Look at some images of a source that is said to be aligned.

    Raises:
        LafsError: eyes lie elsewhere than aligned ones, by its points or its detector.
    """
    settings = planned.intake.settings
    if not planned.intake.aligned or settings.kind == "synthetic":
        return
    wanted = [index for index in planned.wanted if index not in planned.refused]
    detector = FaceDetector(settings.detector, settings.min_score) if settings.detector else None
    sizes: Counter[str] = Counter()
    misses, warmth = [], []
    for place in evenly_spaced(len(wanted), SAMPLE):
        try:
            face = planned.source.read(wanted[place])
            image = decode_image(face.encoded, settings.channel_order)
            points = face.points
            if points is None and detector is not None:
                points, _ = detector.choose(image, settings.choose_face)
        except LafsError:
            continue
        height, width = image.shape[:2]
        sizes[f"{width} x {height}"] += 1
        red, _, blue = image[height // 4 : height - height // 4, width // 4 : width - width // 4].mean(
            axis=(0, 1)
        )
        warmth.append(red - blue)
        if points is not None:
            scaled = (points + 0.5) * (FACE_SIZE / np.array([width, height])) - 0.5
            misses.append(np.linalg.norm(scaled[:2] - ARCFACE_TEMPLATE[:2], axis=1).mean())
    found = ", ".join(f"{size} pixels ({count})" for size, count in sizes.most_common(3))
    if misses and np.median(misses) > FAR:
        raise LafsError(
            f"'{planned.name}' says `aligned: true`, but the eyes in {len(misses)} of its images lie "
            f"{np.median(misses):.0f} pixels (of 112) beside those of the ArcFace template; sizes are "
            f"{found}. Set `aligned: false`, so that its points or its detector align them"
        )
    if len(warmth) >= FEWEST and np.mean(np.array(warmth) < -2) > MOST_COLD:
        other = "rgb" if settings.channel_order == "bgr" else "bgr"
        logger.warning(
            "'%s': the faces are bluer than red in %d of %d images looked at, as where red and blue are "
            "exchanged: where they look wrong in 08_reporting/contact_sheet.png set `channel_order: %s`",
            *(planned.name, (np.array(warmth) < -2).sum(), len(warmth), other),
        )
    if set(sizes) - {f"{FACE_SIZE} x {FACE_SIZE}"} and not misses:
        logger.warning(
            "'%s' says `aligned: true`, and %d of its images are %s: they are only resized to 112 x 112. If "
            "they are photographs or loose crops, set `aligned: false` and give `points` or a `detector`",
            *(planned.name, sum(sizes.values()), found),
        )
