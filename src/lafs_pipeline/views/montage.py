"""A picture of the views of one image, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.views.render import MultiView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_views(
    multi_view: MultiView,
    landmarks: Sequence[np.ndarray] | None = None,
    chosen: Sequence[np.ndarray] | None = None,
) -> "Figure":
    """Show every view: the clean copy above (where there is one), the appearance copy below.

    Args:
        multi_view: the views of one image.
        landmarks: for each view, global views first, (N, 2) pixels drawn on the clean copy.
        chosen: likewise (n, 2) pixels, where the patches are cut, drawn on the appearance copy.
    """
    from matplotlib.figure import Figure

    appearance = [*multi_view.global_appearance, *multi_view.local_appearance]
    rows = [("appearance", appearance, chosen)]
    if multi_view.global_clean is not None:
        rows.insert(0, ("clean", [*multi_view.global_clean, *multi_view.local_clean], landmarks))
    figure = Figure(figsize=(1.5 * len(appearance), 1.7 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(appearance), squeeze=False)
    for line, (name, views, dots) in zip(axes, rows, strict=True):
        for index, (cell, view) in enumerate(zip(line, views, strict=True)):
            _draw_view(cell, view, None if dots is None else dots[index])
        line[0].set_ylabel(name)
    count = multi_view.parameters.global_views
    for index, cell in enumerate(axes[0]):
        cell.set_title(f"global {index + 1}" if index < count else f"local {index - count + 1}", fontsize=9)
    return figure


def _draw_view(cell: "Axes", view: np.ndarray, dots: np.ndarray | None) -> None:
    """Draw one view and its dots, without ticks; dots outside the view are left out."""
    cell.imshow(view)
    if dots is not None:
        cell.scatter(*np.asarray(dots).T, s=5, c="#00e5ff", edgecolors="black", linewidths=0.3)
    cell.set(xticks=[], yticks=[], xlim=(-0.5, view.shape[1] - 0.5), ylim=(view.shape[0] - 0.5, -0.5))
