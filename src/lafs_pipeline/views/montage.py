"""A picture of the views of one image, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.views.render import MultiView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5


def plot_views(
    multi_view: MultiView,
    landmarks: Sequence[np.ndarray] | None = None,
    chosen: Sequence[np.ndarray] | None = None,
) -> "Figure":
    """Show every view, five in a row: the clean copy above (where there is one), the appearance copy below.

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
    columns = min(COLUMNS, len(appearance))
    lines = -(-len(appearance) // columns) * len(rows)
    figure = Figure(figsize=(1.5 * columns, 1.6 * lines), layout="constrained")
    grid = figure.add_gridspec(lines, columns)
    count = multi_view.parameters.global_views
    for row, (name, views, dots) in enumerate(rows):
        for index, view in enumerate(views):
            block, column = divmod(index, columns)
            cell = figure.add_subplot(grid[block * len(rows) + row, column])
            _draw_view(cell, view, None if dots is None else dots[index])
            if row == 0:
                title = f"global {index + 1}" if index < count else f"local {index - count + 1}"
                cell.set_title(title, fontsize=9)
            if column == 0:
                cell.set_ylabel(name)
    return figure


def _draw_view(cell: "Axes", view: np.ndarray, dots: np.ndarray | None) -> None:
    """Draw one view and its dots, without ticks; dots outside the view are left out."""
    cell.imshow(view)
    if dots is not None:
        cell.scatter(*np.asarray(dots).T, s=5, c="#00e5ff", edgecolors="black", linewidths=0.3)
    cell.set(xticks=[], yticks=[], xlim=(-0.5, view.shape[1] - 0.5), ylim=(view.shape[0] - 0.5, -0.5))
