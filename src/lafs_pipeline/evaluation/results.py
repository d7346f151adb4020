"""What a benchmark says of a model, and the table of many such results."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.resampling import LEVEL, Interval

TABLE_COLUMNS = ["model", "benchmark", "group", "metric", "value", "low", "high", "interval"]
DIFFERENCE_COLUMNS = ["reference", "difference", "difference_low", "difference_high"]
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
        megabytes: of the model's weights, or its file; None where it was not measured.
        images_per_second: embedded on one device of this machine, as flag F says; None where not measured.
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
    megabytes: float | None = None
    images_per_second: float | None = None
    threshold: float | None = None


FACT_COLUMNS = list(Facts.__dataclass_fields__)
DIGEST_COLUMNS = ("model_digest", "data_fingerprint", "training_digest", "start_digest", "mlflow_run")
COST_COLUMNS = ("megabytes", "images_per_second")
FLAG_COLUMNS = [name for name in FACT_COLUMNS if name not in DIGEST_COLUMNS + COST_COLUMNS]
"""Those that tell how something was measured, not what."""
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


def benchmark_table(
    results: Mapping[str, Sequence[BenchmarkResult]], reference: str | None = None
) -> pd.DataFrame:
    """One row per model, benchmark (a group's is `<benchmark>/<group>`) and metric.

    Args:
        results: by model.
        reference: model to which the others' differences are told; None tells none.

    Returns:
        model, benchmark, group, metric, value, low and high (missing without an interval), interval (how it
        was made), reference, difference (value minus the reference's on the same pairs), difference_low and
        difference_high (its paired interval), and the columns of `Facts`. Values are fractions.
    """
    references = {(result.name, _compared(result)): result for result in results.get(reference or "", ())}
    rows = []
    for model, benchmarks in results.items():
        for result in benchmarks:
            facts = vars(result.facts)
            for metric, value in result.metrics.items():
                interval = result.intervals.get(metric)
                low, high = (None, None) if interval is None else (interval.low, interval.high)
                made = "" if interval is None else _made(result)
                other = None if model == reference else references.get((result.name, _compared(result)))
                difference = _difference(result, other, metric)
                named = "" if other is None else reference
                figures = [metric, value, low, high, made, named, *difference]
                rows.append([model, result.name, result.group, *figures, *facts.values()])
    table = pd.DataFrame(rows, columns=[*TABLE_COLUMNS, *DIFFERENCE_COLUMNS, *FACT_COLUMNS])
    whole = dict.fromkeys(["folds", "templates", "overlap"], "Int64")
    numbers = ["low", "high", "threshold", *DIFFERENCE_COLUMNS[1:], *COST_COLUMNS]
    return table.astype(whole | dict.fromkeys(numbers, "float64"))


def _compared(result: BenchmarkResult) -> tuple[str, int]:
    return result.facts.data_fingerprint, result.facts.pairs


def _difference(
    result: BenchmarkResult, other: BenchmarkResult | None, metric: str
) -> tuple[float | None, float | None, float | None]:
    """Of a metric, and its interval over resamples that both share."""
    if other is None or metric not in other.metrics:
        return None, None, None
    own, theirs = result.intervals.get(metric), other.intervals.get(metric)
    paired = own.over(theirs) if own and theirs else None
    bounds = (None, None) if paired is None else (paired.low, paired.high)
    return result.metrics[metric] - other.metrics[metric], *bounds


def with_cost(
    results: Iterable[BenchmarkResult], megabytes: float | None, images_per_second: float | None
) -> list[BenchmarkResult]:
    """The results with what their model costs."""
    return [
        replace(
            result,
            facts=replace(result.facts, megabytes=megabytes, images_per_second=images_per_second),
        )
        for result in results
    ]


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
