"""What the landmark network looks at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.reporting.pictures import pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6


def landmarks_picture(images: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> np.ndarray:
    """:func:`plot_landmarks` as pixels (H, W, 3) uint8 RGB, which a training logs."""
    return pixels(plot_landmarks(images, landmarks))


def plot_landmarks(images: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> "Figure":
    """Faces with their landmarks; color is a landmark's number, so the same part has the same color.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        landmarks: by title, (n, N, 2) in pixels, where the center of the first pixel stands at 0.5. Several
            sets stand side by side, each on all faces.
    """
    from matplotlib.figure import Figure

    columns = COLUMNS // len(landmarks)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2 * columns * len(landmarks), 2 * rows + 0.6), layout="constrained")
    blocks = figure.subfigures(1, len(landmarks), squeeze=False)[0]
    for block, (title, points) in zip(blocks, landmarks.items(), strict=True):
        block.suptitle(title, fontsize="medium")
        axes = block.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, own in zip(axes, images, points, strict=False):
            _draw_face(axis, image, own)
    return figure


def _draw_face(axis: "Axes", image: np.ndarray, points: np.ndarray) -> None:
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))
    x, y = points.T
    axis.scatter(x, y, c=np.arange(len(points)), cmap="turbo", s=14, edgecolors="white", linewidths=0.4)
    axis.set(xlim=(0, width), ylim=(height, 0))
