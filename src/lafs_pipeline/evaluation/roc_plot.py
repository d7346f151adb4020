"""ROC curves of several models in one figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lafs_pipeline.evaluation.verification import VerificationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDEST_FLOOR = 1e-3
"""The axis reaches at least this far down, also where no pair of different people is ever accepted."""


def plot_roc(results: Mapping[str, VerificationResult], title: str) -> Figure:
    """Draw true over false accept rate, the latter on a log scale down to the smallest one attained.

    Args:
        results: model name -> its result, in the order of the legend.
        title: of the benchmark.

    Returns:
        A matplotlib figure outside pyplot: `savefig` it, nothing else holds it.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    floor = min([_WIDEST_FLOOR, *(_smallest_step(result) for result in results.values())])
    lowest = 1.0
    for name, result in results.items():
        far, tar = result.false_accept_rate, result.true_accept_rate
        lowest = min(lowest, float(np.interp(floor, far, tar)))
        label = f"{name}: {result.accuracy:.2%} ± {result.std:.2%}"
        axes.plot(np.maximum(far, floor), tar, label=label, linewidth=1.8)
    axes.set_xlim(floor, 1)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("False accept rate")
    axes.set_ylabel("True accept rate")
    axes.set_title(title)
    axes.grid(which="major", alpha=0.4)
    axes.grid(which="minor", alpha=0.12)
    figure.legend(loc="outside lower center", ncols=2, title="Accuracy ± standard deviation over the folds")
    return figure


def _smallest_step(result: VerificationResult) -> float:
    far = result.false_accept_rate
    return float(far[far > 0].min())
