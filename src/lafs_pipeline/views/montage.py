"""The views of one image, to look at."""

from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.views.render import MultiView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_views(views: MultiView, landmarks: list[np.ndarray]) -> "Figure":
    """Clean copies above appearance copies, with the landmarks that become tokens.

    Args:
        views: rendered with clean copies.
        landmarks: of every view, global ones first: (n, 2) pixels, the first pixel's centre at 0.5.
    """
    from matplotlib.figure import Figure

    clean = [*views.global_clean, *views.local_clean]
    appearance = [*views.global_appearance, *views.local_appearance]
    figure = Figure(figsize=(1.7 * len(clean), 4.1), layout="constrained")
    figure.suptitle("Clean copies, where landmarks are predicted, and appearance copies, where patches are cut")
    for row, images in zip(figure.subplots(2, len(clean)), (clean, appearance), strict=True):
        for number, (axis, image, points) in enumerate(zip(row, images, landmarks, strict=True)):
            height, width = image.shape[:2]
            axis.imshow(image, extent=(0, width, height, 0))
            axis.scatter(*points.T, s=10, color="yellow", edgecolors="black", linewidths=0.3)
            axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
            if images is clean:
                kind = "global" if number < len(views.global_clean) else "local"
                axis.set_title(f"{kind} {number + 1}", fontsize=9)
    return figure
