"""What a run found, in sentences: whether pretraining helped, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lafs_pipeline.evaluation.few_shot import FewShotResult, paired_differences
from lafs_pipeline.evaluation.results import BenchmarkResult, headline_metric
from lafs_pipeline.models.methods import FROZEN, in_order, to_compare
from lafs_pipeline.reporting.tables import metric_name, model_name

RATE = "tar_at_far_"
DRAWN = {"identity": "people", "template": "templates", "pair": "pairs"}


def verdict(
    results: Mapping[str, Sequence[BenchmarkResult]],
    shots: pd.DataFrame | None,
    chances: Mapping[str, float],
    steps: Mapping[str, int],
) -> list[str]:
    """A sentence for each benchmark and each model that the leading pretrained one is to be better than.

    Args:
        results: by model.
        shots: the faces that models were adapted to; None where they are not known.
        chances: by benchmark, the accuracy of always giving the more frequent answer.
        steps: of pretraining, by method, as far as they are known.
    """
    lines = []
    if shots is not None and shots.empty:
        lines.append("No training face has a label: nothing was adapted.")
    if results and not any(results.values()):
        lines.append("Nothing was scored: no benchmark is named; the backbones lie in 06_models/backbones.")
    elif not results:
        lines.append("Nothing was scored: there is no model.")
    for best, than in to_compare(results):
        others = {result.name: result for result in results[than]}
        for result in results[best]:
            if result.group is None and result.name in others:
                names, method = (best, than), best.removesuffix(FROZEN)
                about = [_setting(best, shots), *_known_steps(steps.get(method))]
                chance = chances.get(result.benchmark)
                lines.append(_of_benchmark(names, (result, others[result.name]), about, chance))
    return lines


def answer_by_chance(pairs: pd.DataFrame) -> dict[str, float]:
    """By benchmark, the share of the more frequent kind of its pairs (benchmark, is_same)."""
    same = pairs.groupby("benchmark")["is_same"].mean()
    return {str(name): float(max(share, 1 - share)) for name, share in same.items()}


def study_verdict(
    results: Sequence[FewShotResult], seed: int, chances: Mapping[str, float], steps: Mapping[str, int]
) -> list[str]:
    """As :func:`verdict`, of the few-shot study, with a sentence for each number of shots.

    Args:
        results: of all runs.
        seed: of the intervals.
        chances: as there.
        steps: as there.
    """
    methods = in_order({result.method for result in results})
    ordered = sorted(results, key=lambda result: methods.index(result.method))
    lines = []
    for row in paired_differences(ordered, seed).itertuples():
        if (row.better, row.than) in to_compare(methods):
            labels = f"{_images(row.shots)} per identity" if row.shots else "without adaptation"
            about = [labels, f"mean of {row.seeds} draws", *_known_steps(steps.get(row.better))]
            told = f"{model_name(row.better)} {row.value:.1f} %", f"{model_name(row.than)} {row.other:.1f} %"
            bounds = None if pd.isna(row.low) else (row.low, row.high, "people and draws")
            chance = chances.get(row.benchmark)
            lines.append(_sentence(told, [row.benchmark, *about], row.difference, bounds, chance))
    return lines


def _of_benchmark(
    names: tuple[str, str],
    results: tuple[BenchmarkResult, BenchmarkResult],
    about: Sequence[str],
    chance: float | None,
) -> str:
    metric = headline_metric(results[0].metrics)
    values = [100 * result.metrics[metric] for result in results]
    told = [f"{model_name(name)} {value:.1f} %" for name, value in zip(names, values, strict=True)]
    if metric != "accuracy":
        told[1] += f" {metric_name(metric)}"
        chance = float(metric.removeprefix(RATE)) if metric.startswith(RATE) else None
    first, second = (result.intervals.get(metric) for result in results)
    interval = first.over(second) if first and second else None
    drawn = DRAWN.get(results[0].drawn, "")
    bounds = None if interval is None else (100 * interval.low, 100 * interval.high, drawn)
    return _sentence(told, [results[0].name, *about], values[0] - values[1], bounds, chance)


def _sentence(
    told: Sequence[str],
    about: Sequence[str],
    difference: float,
    bounds: tuple[float, float, str] | None,
    chance: float | None,
) -> str:
    """LAFS 66.1 % against scratch 59.0 % on lfw, ..., in percentage points."""
    points = f"{_signed(difference)} points"
    if bounds is not None:
        low, high, drawn = bounds
        points += f" [{_signed(low)}, {_signed(high)}] (95 % interval over {drawn})"
        if low <= 0 <= high:
            points = f"no difference can be told, {points}"
    end = "." if chance is None else f"; chance is {100 * chance:.4g} %."
    return f"{told[0]} against {told[1]} on {', '.join(about)}: {points}{end}"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"


def _setting(name: str, shots: pd.DataFrame | None) -> str:
    """How many labels a row had."""
    if name.endswith(FROZEN):
        return "without adaptation"
    counts = pd.Series(dtype=int) if shots is None else shots["identity"].value_counts()
    if counts.empty:
        return "after adaptation"
    if counts.nunique() > 1:
        return f"adapted to {counts.sum():,} images of {len(counts):,} people"
    return f"{_images(counts.iloc[0])} per identity"


def _images(count: int) -> str:
    return f"{count} image{'s' * bool(count > 1)}"


def _known_steps(steps: int | None) -> list[str]:
    return [] if steps is None else [f"{steps:,} pretraining steps"]
