"""The few-shot study in numbers: what a way of pretraining gains at how many labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.resampling import LEVEL
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator


@dataclass(frozen=True)
class FewShotResult:
    """One adaptation and its benchmark.

    Attributes:
        method: how the transformer started.
        shots: labeled images per identity; 0 for a start that was not adapted.
        seed: of shots, start and order.
        benchmark: name.
        fold_accuracy: (folds,) fractions, of the same folds for every run.
        resampled: (resamples,) accuracies where the people of the benchmark were drawn anew, alike for every
            run; empty without intervals.
    """

    method: str
    shots: int
    seed: int
    benchmark: str
    fold_accuracy: tuple[float, ...]
    resampled: tuple[float, ...] = ()

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.fold_accuracy))


def few_shot_table(results: Sequence[FewShotResult]) -> pd.DataFrame:
    """One row per benchmark, number of shots and method.

    Returns:
        benchmark, shots, method, seeds (how many), mean and std (sample standard deviation over the seeds) of
        the accuracy, in percent.

    Raises:
        LafsError: when methods were not run on the same seeds.
    """
    _require_pairs(results)
    runs = _accuracies(results)
    table = runs.groupby(["benchmark", "shots", "method"], sort=False)["accuracy"]
    return table.agg(seeds="count", mean="mean", std="std").reset_index()


def paired_differences(results: Sequence[FewShotResult], seed: int = 0) -> pd.DataFrame:
    """How much better one method is than another on the same seeds, shots and pairs, in percentage points.

    The interval is a percentile bootstrap over two crossed factors, each drawn with replacement: the people
    of the benchmark, and the seeds (Owen and Eckles 2012). Seeds share the pretraining: the interval speaks
    of adaptations, not of pretrainings.

    Returns:
        benchmark, shots, better, than, seeds, value and other (mean accuracies, in percent), difference, low
        and high (missing without resamples).

    Raises:
        LafsError: when methods were not run on the same seeds.
    """
    _require_pairs(results)
    rows = []
    for (benchmark, shots), methods in _by_setting(results).items():
        for than, better in combinations(methods, 2):
            pairs = [(methods[better][number], methods[than][number]) for number in sorted(methods[than])]
            value, other = (
                100 * np.mean([result.accuracy for result in own]) for own in zip(*pairs, strict=True)
            )
            differences = [np.subtract(*_same_draws(first, second)) for first, second in pairs]
            low, high = _interval(differences, random_generator(seed, benchmark, shots, better, than))
            rows.append(
                {
                    "benchmark": benchmark,
                    "shots": shots,
                    "better": better,
                    "than": than,
                    "seeds": len(pairs),
                    "value": value,
                    "other": other,
                    "difference": value - other,
                    "low": 100 * low,
                    "high": 100 * high,
                }
            )
    return pd.DataFrame(rows)


def _same_draws(first: FewShotResult, second: FewShotResult) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What was resampled alike: a longer bootstrap of the same benchmark begins with a shorter one."""
    count = min(len(first.resampled), len(second.resampled))
    return first.resampled[:count], second.resampled[:count]


def _interval(differences: Sequence[np.ndarray], generator: np.random.Generator) -> tuple[float, float]:
    """Bounds of the mean over seeds; a seed has a difference for every draw of people."""
    count = min(map(len, differences))
    if not count:
        return float("nan"), float("nan")
    values = np.array([own[:count] for own in differences])
    drawn = generator.integers(len(values), size=(len(values), count))
    low, high = np.nanquantile(
        values[drawn, np.arange(count)].mean(axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    )
    return float(low), float(high)


def _by_setting(
    results: Sequence[FewShotResult],
) -> dict[tuple[str, int], dict[str, dict[int, FewShotResult]]]:
    """(benchmark, shots) -> method -> seed -> result, in the order given."""
    settings: dict[tuple[str, int], dict[str, dict[int, FewShotResult]]] = {}
    for result in results:
        methods = settings.setdefault((result.benchmark, result.shots), {})
        methods.setdefault(result.method, {})[result.seed] = result
    return settings


def _accuracies(results: Sequence[FewShotResult]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "benchmark": result.benchmark,
                "shots": result.shots,
                "method": result.method,
                "accuracy": 100 * result.accuracy,
            }
            for result in results
        ]
    )


def _require_pairs(results: Sequence[FewShotResult]) -> None:
    for (benchmark, shots), methods in _by_setting(results).items():
        seeds = {method: sorted(runs) for method, runs in methods.items()}
        if len({tuple(drawn) for drawn in seeds.values()}) > 1:
            raise LafsError(
                f"{benchmark} at {shots} shots: methods were run on different seeds {seeds}; run those "
                "that are missing"
            )
