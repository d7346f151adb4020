"""The few-shot study in numbers: what a way of pretraining gains at how many labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.resampling import LEVEL
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator

RESAMPLES = 10_000


@dataclass(frozen=True)
class FewShotResult:
    """One adaptation and its benchmark.

    Attributes:
        method: how the transformer started.
        shots: labeled images per identity; 0 for a start that was not adapted.
        seed: of shots, start and order.
        benchmark: name.
        fold_accuracy: (folds,) fractions, of the same folds for every run.
    """

    method: str
    shots: int
    seed: int
    benchmark: str
    fold_accuracy: tuple[float, ...]

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
    """How much better one method is than another on the same seeds, shots and folds, in percentage points.

    The interval is a percentile bootstrap of 10,000 draws in two stages: seeds with replacement, and folds
    with replacement within each drawn seed (Davison and Hinkley 1997, section 3.8). Seeds share the
    pretraining and the benchmark: the interval speaks of adaptations, not of pretrainings.

    Returns:
        benchmark, shots, better, than, seeds, difference, low, high.

    Raises:
        LafsError: when methods were not run on the same seeds.
    """
    _require_pairs(results)
    rows = []
    for (benchmark, shots), methods in _by_setting(results).items():
        for than, better in combinations(methods, 2):
            difference = 100 * (_folds(methods[better]) - _folds(methods[than]))
            low, high = _interval(difference, random_generator(seed, benchmark, shots, better, than))
            rows.append(
                {
                    "benchmark": benchmark,
                    "shots": shots,
                    "better": better,
                    "than": than,
                    "seeds": len(difference),
                    "difference": difference.mean(),
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def _interval(difference: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Bounds of the mean of (seeds, folds)."""
    seeds, folds = difference.shape
    drawn = generator.integers(seeds, size=(RESAMPLES, seeds, 1))
    within = generator.integers(folds, size=(RESAMPLES, seeds, folds))
    means = difference[drawn, within].mean(axis=(1, 2))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _by_setting(
    results: Sequence[FewShotResult],
) -> dict[tuple[str, int], dict[str, dict[int, tuple[float, ...]]]]:
    """(benchmark, shots) -> method -> seed -> fold accuracies, in the order given."""
    settings: dict[tuple[str, int], dict[str, dict[int, tuple[float, ...]]]] = {}
    for result in results:
        methods = settings.setdefault((result.benchmark, result.shots), {})
        methods.setdefault(result.method, {})[result.seed] = result.fold_accuracy
    return settings


def _folds(runs: dict[int, tuple[float, ...]]) -> np.ndarray:
    """(seeds, folds), in the order of the seeds."""
    return np.array([runs[seed] for seed in sorted(runs)])


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
