"""Shapes in space on an oversized image: what synthetic faces are drawn with."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from lafs_pipeline.faces import FACE_SIZE

SUPERSAMPLING = 2
CIRCLE = np.stack(
    [np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8), np.zeros(16)], axis=1
)
_SUBPIXEL_BITS = 4

_STEPS = np.arange(5)[:, None] / 5.0
_CATMULL_ROM = np.concatenate([_STEPS**0, _STEPS, _STEPS**2, _STEPS**3], axis=1) @ (
    np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)]) / 2
)

Projection = Callable[[np.ndarray], np.ndarray]


def smooth(points: np.ndarray) -> np.ndarray:
    """A closed Catmull-Rom curve through (n, 3) points, as (5 n, 3) points."""
    places = (np.arange(len(points))[:, None] + (-1, 0, 1, 2)) % len(points)
    neighbors = points[places]
    return (_CATMULL_ROM @ neighbors).reshape(-1, points.shape[1])


def mirrored(points: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """A closed outline from its right half, listed from top to bottom."""
    right = np.array(points, float)
    return np.concatenate([right, right[::-1] * (-1, 1, 1)])


def ellipse(x: float, y: float, z: float, width: float, height: float) -> np.ndarray:
    """An upright ellipse as (16, 3) points."""
    return CIRCLE * (width, height, 0) + (x, y, z)


class Canvas:
    """An image at `SUPERSAMPLING` times the final size on which shapes in space are drawn.

    Shapes wait until :meth:`paint` projects all of them at once, which takes half the time of one by one.
    """

    def __init__(self, image: np.ndarray, project: Projection):
        self._image = image
        self._project = project
        self._shapes: list[tuple[np.ndarray, np.ndarray, int]] = []

    def fill(self, points: np.ndarray, color: np.ndarray) -> None:
        """Fill closed outlines of (..., n, 3) points."""
        self._add(points, color, 0)

    def stroke(self, points: np.ndarray, color: np.ndarray, width: float) -> None:
        """Draw lines of `width` final pixels through (..., n, 3) points."""
        self._add(points, color, max(1, int(width * SUPERSAMPLING + 0.5)))

    def soften(self, width: int) -> None:
        """Blur all that has been drawn so far with a Gaussian of `width` (odd) supersampled pixels."""
        self._image = cv2.GaussianBlur(self.paint(), (width, width), 0)

    def paint(self) -> np.ndarray:
        """The image with all shapes drawn so far, first below, last above."""
        if not self._shapes:
            return self._image
        outlines, colors, thicknesses = zip(*self._shapes, strict=True)
        self._shapes = []
        fine = (self._project(np.concatenate(outlines)) + 0.5) * SUPERSAMPLING - 0.5
        pixels = np.rint(fine * 2**_SUBPIXEL_BITS).astype(np.int32)
        colors = np.rint(colors).clip(0, 255).tolist()
        start = 0
        for outline, color, thickness in zip(outlines, colors, thicknesses, strict=True):
            part = [pixels[start : start + len(outline)]]
            start += len(outline)
            if thickness:
                cv2.polylines(self._image, part, False, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
            else:
                cv2.fillPoly(self._image, part, color, cv2.LINE_AA, _SUBPIXEL_BITS)
        return self._image

    def _add(self, points: np.ndarray, color: np.ndarray, thickness: int) -> None:
        for outline in points.reshape(-1, *points.shape[-2:]):
            self._shapes.append((outline, color, thickness))


def draw_background(generator: np.random.Generator) -> np.ndarray:
    """Blurred scenery at the supersampled size."""
    cells = int(generator.integers(2, 9))
    tone = generator.uniform(25, 225) + generator.uniform(-35, 35, 3)
    scatter = generator.uniform(10, 70)
    coarse = tone + generator.uniform(-scatter, scatter, (cells, cells, 1))
    coarse = coarse + generator.uniform(-0.4 * scatter, 0.4 * scatter, (cells, cells, 3))
    size = FACE_SIZE * SUPERSAMPLING
    return cv2.resize(
        coarse.clip(0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR_EXACT
    )
