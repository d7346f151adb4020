"""Training curves, one small picture a metric."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "linestyle": "-"},
    {"color": "#d55e00", "linestyle": "--"},
    {"color": "#007a5a", "linestyle": "-."},
    {"color": "#a0447c", "linestyle": ":"},
    {"color": "#3b3b98", "linestyle": (0, (9, 2))},
    {"color": "#8c5e00", "linestyle": (0, (4, 1, 1, 1, 1, 1))},
    {"color": "#b71c1c", "linestyle": (0, (2, 3))},
    {"color": "#00707a", "linestyle": (0, (9, 2, 1, 2))},
)
"""Of the first, second .. line of a plot: told apart without color, and with any kind of color vision."""
CHANCE: dict[str, Any] = {"color": "#555555", "linewidth": 1, "linestyle": (0, (1, 1))}
"""The line of what guessing gets."""
MOST_POINTS = 400
LONGEST_NAME = 30
"""Characters."""
FEW_POINTS = 25
"""Curves with no more points show them."""


def plain(text: str) -> str:
    """Text from the data as matplotlib shows it: not too long, and dollars start no formula."""
    shown = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."
    # A label that starts with an underscore would be missing in a legend.
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$").replace("\n", " ")


def thin(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """At most `most` means of neighboring values, (n,) -> (m,)."""
    if len(values) <= most:
        return values
    return np.array([part.mean() for part in np.array_split(values, most)])


def plot_nothing(reason: str) -> "Figure":
    """A figure that says why there is none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.5))
    figure.text(0.5, 0.5, reason, ha="center", va="center")
    return figure


def plot_metric(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    limit: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> "Figure":
    """A metric over optimizer steps.

    Args:
        curves: name of a training -> steps and values, both (n,), n at least 1.
        title: what the metric is, and its unit.
        limit: name and value of a line to compare with.
        from_zero: whether the axis of the values starts at 0.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(3.4, 2.5), layout="constrained")
    axis = figure.subplots()
    for index, (name, (steps, values)) in enumerate(curves.items()):
        marker = "o" if len(steps) <= FEW_POINTS else None
        line = LINES[index % len(LINES)]
        axis.plot(thin(steps), thin(values), label=plain(name), marker=marker, markersize=3, **line)
    if limit is not None:
        axis.axhline(limit[1], label=limit[0], **CHANCE)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("optimizer step", fontsize=9)
    axis.tick_params(labelsize=9)
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axis.set_xlim(0, 1.04 * max(steps[-1] for steps, _ in curves.values()))
    if from_zero:
        levels = [values.max() for _, values in curves.values()] + [limit[1] if limit else 0.0]
        axis.set_ylim(0, 1.1 * max(levels) or 1.0)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 5))
    axis.grid(alpha=0.3)
    if len(curves) > 1 or limit is not None:
        axis.legend(fontsize=8)
    return figure
