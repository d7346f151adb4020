"""The few-shot study in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.evaluation.few_shot import FewShotResult, few_shot_table
from lafs_pipeline.reporting.curves import CHANCE, LINES, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP"
APART = 0.06
"""Between the bars of two methods, where neighboring shots are 1 apart."""


def plot_few_shot(results: Sequence[FewShotResult], chances: Mapping[str, float]) -> Figure:
    """Accuracy over shots, a panel per benchmark, a line per method; bars are a standard deviation.

    Args:
        results: of all runs.
        chances: by benchmark, where known, the accuracy (0..1) of always giving the more frequent answer.
    """
    from matplotlib.figure import Figure

    table = few_shot_table(results)
    benchmarks = list(table["benchmark"].unique())
    figure = Figure(figsize=(5.2 * len(benchmarks), 4.2), layout="constrained")
    panels = figure.subplots(1, len(benchmarks), squeeze=False)[0]
    for panel, benchmark in zip(panels, benchmarks, strict=True):
        rows = table[table["benchmark"] == benchmark]
        shots = sorted(rows["shots"].unique())
        lines = rows.groupby("method", sort=False)
        for index, (method, line) in enumerate(lines):
            style = {"marker": MARKERS[index % len(MARKERS)], **LINES[index % len(LINES)]}
            aside = APART * (index - (len(lines) - 1) / 2)
            _draw_line(panel, method, line.sort_values("shots"), shots, aside, style)
        panel.set_xticks(range(len(shots)), [str(count) for count in shots])
        panel.set_xlabel("labeled images per identity")
        panel.set_ylabel("accuracy, %")
        panel.set_title(f"{plain(benchmark)}, {int(rows['seeds'].min())} seeds")
        panel.grid(alpha=0.3)
        if benchmark in chances:
            panel.axhline(100 * chances[benchmark], label="chance", **CHANCE)
        panel.legend()
    return figure


def _draw_line(
    panel: Axes, method: str, line: pd.DataFrame, shots: list[int], aside: float, style: dict[str, Any]
) -> None:
    places = [shots.index(count) + aside for count in line["shots"]]
    panel.errorbar(places, line["mean"], line["std"].fillna(0.0), label=plain(method), capsize=3, **style)
