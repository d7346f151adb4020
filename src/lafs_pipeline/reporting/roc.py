"""ROC curves of several models, one panel per benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.evaluation.results import BenchmarkResult
from lafs_pipeline.reporting.curves import CHANCE, LINES, plain, plot_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDEST_FLOOR = 1e-3
"""The axis reaches at least this far down, also where no pair of different people is ever accepted."""
_DEEPEST_FLOOR = 1e-6
_COLUMNS = 3
_PANEL_HEIGHT, _LEGEND_LINE = 4.0, 0.22
"""Inches."""


def plot_roc(results: Mapping[str, Iterable[BenchmarkResult]]) -> Figure:
    """Draw true over false accept rate, the latter on a log scale down to the smallest one attained.

    Groups of a benchmark are not drawn.

    Returns:
        A matplotlib figure outside pyplot: `savefig` it, nothing else holds it.
    """
    from matplotlib.figure import Figure

    panels: dict[str, dict[str, BenchmarkResult]] = {}
    for model, benchmarks in results.items():
        for result in benchmarks:
            if result.group is None and len(result.false_accept_rate):
                panels.setdefault(result.benchmark, {})[model] = result
    if not panels:
        return plot_nothing("no results")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = _PANEL_HEIGHT + _LEGEND_LINE * len(results)
    figure = Figure(figsize=(5.2 * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, subplot_kw={"xscale": "log"}).ravel()
    for panel, (benchmark, models) in zip(axes, panels.items(), strict=False):
        _draw(panel, benchmark, models)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    return figure


def _draw(panel: Axes, benchmark: str, models: dict[str, BenchmarkResult]) -> None:
    from matplotlib.ticker import PercentFormatter

    steps = [result.false_accept_rate[result.false_accept_rate > 0].min() for result in models.values()]
    floor = max(_DEEPEST_FLOOR, min([_WIDEST_FLOOR, *steps]))
    end = max(result.false_accept_rate[-1] for result in models.values())
    lowest = 1.0
    for index, (model, result) in enumerate(models.items()):
        far, tar = result.false_accept_rate, result.true_accept_rate
        lowest = min(lowest, float(np.interp(floor, far, tar)))
        label = f"{plain(model)}: {result.headline()}"
        panel.plot(np.maximum(far, floor), tar, label=label, linewidth=1.8, **LINES[index % len(LINES)])
    rates = np.geomspace(floor, end, 50)
    panel.plot(rates, rates, label="chance", **CHANCE)
    panel.set_xlim(floor, end)
    panel.set_ylim(max(0.0, lowest - 0.05), 1.005)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panel.set_xlabel("False accept rate")
    panel.set_ylabel("True accept rate")
    panel.set_title(plain(benchmark))
    panel.grid(which="major", alpha=0.4)
    panel.grid(which="minor", alpha=0.12)
    # Below the axis and its label.
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4)
