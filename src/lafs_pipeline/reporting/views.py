"""The views of one face."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.reporting.pictures import pixels
from lafs_pipeline.runtime.seeding import derive_seed, random_generator
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.training.view_landmarks import augment_landmarks, predict_landmarks
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.render import LafsViews, MultiView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5


def views_picture(
    manifest: pd.DataFrame, network: LandmarkNetwork | None, options: PretrainSettings, seed: int, epoch: int
) -> np.ndarray:
    """:func:`show_views` as pixels (H, W, 3) uint8 RGB, which a training logs."""
    return pixels(show_views(manifest, network, options, seed, epoch))


def show_views(
    manifest: pd.DataFrame,
    network: LandmarkNetwork | None,
    options: PretrainSettings,
    seed: int,
    epoch: int = 0,
) -> "Figure":
    """The views of the first training face in an epoch, with the landmarks at which patches are cut."""
    with_landmarks = options.with_landmarks()
    draw = LafsViews(options.views, clean=with_landmarks)
    views = draw(FaceImages(manifest)[0], random_generator(seed, "views", epoch, 0))
    if not with_landmarks:
        return plot_views(views)
    clean = to_input(torch.from_numpy(np.concatenate((views.global_clean, views.local_clean))))
    part = MicroBatch(Progress(0, 1, 1), derive_seed(seed, "shown", epoch), np.arange(1), batch_size=1)
    whole, local = augment_landmarks(predict_landmarks(network.eval(), clean), options.views, part)
    return plot_views(views, chosen=[points.numpy() for points in (*whole.points, *local.points)])


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
        x, y = np.asarray(dots).T
        cell.scatter(x, y, s=5, c="#00e5ff", edgecolors="black", linewidths=0.3)
    cell.set(xticks=[], yticks=[], xlim=(-0.5, view.shape[1] - 0.5), ylim=(view.shape[0] - 0.5, -0.5))
