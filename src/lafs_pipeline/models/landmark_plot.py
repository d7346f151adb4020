"""What the landmark network looks at."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 6


def plot_landmarks(images: np.ndarray, landmarks: np.ndarray, title: str) -> "Figure":
    """Faces with their landmarks; colour is a landmark's number, so the same part has the same colour.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        landmarks: (n, N, 2) in pixels, where the centre of the first pixel stands at 0.5.
        title: above the figure.
    """
    from matplotlib.figure import Figure

    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 2 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, points in zip(axes, images, landmarks, strict=False):
        height, width = image.shape[:2]
        axis.imshow(image, extent=(0, width, height, 0))
        axis.scatter(
            *points.T, c=np.arange(len(points)), cmap="turbo", s=14, edgecolors="white", linewidths=0.4
        )
        axis.set(xlim=(0, width), ylim=(height, 0))
    return figure
