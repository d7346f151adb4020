"""What a benchmark says of a model, and the table of many such results."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.resampling import LEVEL, Interval

TABLE_COLUMNS = ["model", "benchmark", "group", "metric", "value", "low", "high", "interval"]
OPERATING_RATE = 1e-4
"""The false accept rate at which templates are quoted."""
HEADLINES = ("accuracy", f"tar_at_far_{OPERATING_RATE:g}")


@dataclass(frozen=True)
class Facts:
    """What a figure must be read with: how it came about. The columns of every row.

    Attributes:
        pairs: compared.
        folds: of the accuracy; None without one.
        templates: pooled; None where images are compared.
        excluded_images: of the benchmark, that could not be used.
        excluded_pairs: of the benchmark, because of those images or because they were listed twice.
        overlap: images of the benchmark that training has a duplicate of; None without training images.
        flip: whether image and mirror image were summed (flag F).
        normalized: whether images were brought to length 1 before pooling (flag N).
        detector_score: whether images were weighted by it (flag D).
        alignment: template, and where the points came from.
        model_digest: SHA-256 of sizes and weights.
        data_fingerprint: of the benchmark's faces.
        training_digest: SHA-256 of the configuration of the training that made the weights; empty where none
            is known.
        start_digest: SHA-256 of sizes and weights of the model that this training started from.
        mlflow_run: id of the training's MLflow run; empty where it was not tracked.
        preprocessing: what images were made into for the model.
        threshold: cosine similarity from which pairs were accepted, mean over folds; None without folds.
    """

    pairs: int
    folds: int | None
    templates: int | None
    excluded_images: int
    excluded_pairs: int
    overlap: int | None
    flip: bool
    normalized: bool
    detector_score: bool
    alignment: str
    model_digest: str
    data_fingerprint: str
    training_digest: str = ""
    start_digest: str = ""
    mlflow_run: str = ""
    preprocessing: str = ""
    threshold: float | None = None


FACT_COLUMNS = list(Facts.__dataclass_fields__)
DIGEST_COLUMNS = ("model_digest", "data_fingerprint", "training_digest", "start_digest", "mlflow_run")
"""Those that tell what was measured, not how."""
MAPPINGS = ("metrics", "intervals", "facts")
"""Fields of :class:`BenchmarkResult` that are JSON in a Parquet file."""
ARRAYS = ("false_accept_rate", "true_accept_rate", "fold_accuracy")
"""Those that are lists there."""


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """One model on one benchmark, or on one group of its faces.

    Attributes:
        benchmark: name.
        group: of the faces; None for all.
        metrics: fractions by name.
        intervals: by name of the metric, for those that have one.
        drawn: what was resampled for the intervals: `identity`, `template`, `pair`; empty for nothing.
        resamples: how often.
        facts: how it came about.
        false_accept_rate: (points,) ascending, with `true_accept_rate` the ROC curve as far as it is known.
        true_accept_rate: (points,).
        fold_accuracy: (folds,) of pairs of images; empty for templates.
    """

    benchmark: str
    group: str | None
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    drawn: str
    resamples: int
    facts: Facts
    false_accept_rate: np.ndarray
    true_accept_rate: np.ndarray
    fold_accuracy: np.ndarray

    @property
    def name(self) -> str:
        """Benchmark, and group after a slash."""
        return self.benchmark if self.group is None else f"{self.benchmark}/{self.group}"

    def headline(self) -> str:
        """The one figure that is quoted, with its interval, in per cent."""
        metric = headline_metric(self.metrics)
        shown = f"{metric} {self.metrics[metric]:.2%}"
        interval = self.intervals.get(metric)
        return shown if interval is None else f"{shown} [{interval.low:.2%}, {interval.high:.2%}]"


def headline_metric(metrics: Iterable[str]) -> str:
    """The one of a benchmark's metrics that is quoted."""
    metrics = list(metrics)
    return next((metric for metric in HEADLINES if metric in metrics), metrics[0])


def benchmark_table(results: Mapping[str, Iterable[BenchmarkResult]]) -> pd.DataFrame:
    """One row per model, benchmark (a group's is `<benchmark>/<group>`) and metric.

    Returns:
        model, benchmark, group, metric, value, low and high (missing without an interval), interval (how it
        was made), and the columns of `Facts`. Values are fractions.
    """
    rows = []
    for model, benchmarks in results.items():
        for result in benchmarks:
            facts = vars(result.facts)
            for metric, value in result.metrics.items():
                interval = result.intervals.get(metric)
                low, high = (None, None) if interval is None else (interval.low, interval.high)
                made = "" if interval is None else _made(result)
                rows.append(
                    [model, result.name, result.group, metric, value, low, high, made, *facts.values()]
                )
    table = pd.DataFrame(rows, columns=[*TABLE_COLUMNS, *FACT_COLUMNS])
    whole = dict.fromkeys(["folds", "templates", "overlap"], "Int64")
    return table.astype(whole | dict.fromkeys(["low", "high", "threshold"], "float64"))


def results_frame(results: Iterable[BenchmarkResult]) -> pd.DataFrame:
    """One row per result of one model, for a Parquet file: mappings as JSON, arrays as lists."""
    rows = []
    for result in results:
        row = asdict(result)
        row |= {name: json.dumps(row[name]) for name in MAPPINGS}
        rows.append(row | {name: row[name].tolist() for name in ARRAYS})
    return pd.DataFrame(rows, columns=list(BenchmarkResult.__dataclass_fields__))


def frame_results(frame: pd.DataFrame) -> list[BenchmarkResult]:
    """The results of :func:`results_frame`."""
    results = []
    for row in frame.to_dict("records"):
        row |= {name: json.loads(row[name]) for name in MAPPINGS}
        row |= {name: np.asarray(row[name], np.float64) for name in ARRAYS}
        row["group"] = None if pd.isna(row["group"]) else row["group"]
        row["facts"] = Facts(**row["facts"])
        row["intervals"] = {name: Interval(**bounds) for name, bounds in row["intervals"].items()}
        results.append(BenchmarkResult(**row))
    return results


def _made(result: BenchmarkResult) -> str:
    return f"{LEVEL:.0%}, bootstrap by {result.drawn}, {result.resamples} resamples"
