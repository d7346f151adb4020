"""MLflow runs under the one that Kedro has open."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.tracking.tracker import clean_name, tracker

if TYPE_CHECKING:
    from lafs_pipeline.evaluation.results import BenchmarkResult

CHILD_RUN = "mlflow_child_run"
"""Name of the file that holds the id of a run that is not finished."""


@contextmanager
def child_run(
    name: str, parameters: Mapping[str, Any], folder: Path
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A run under the active one, to which loggers made inside log; without an active run nothing is tracked.

    Yields:
        What logs metrics to the child run.
    """
    record = folder / CHILD_RUN
    if not tracker.is_on or mlflow.active_run() is None:
        with _own_metrics(name):
            yield lambda metrics: None
        record.unlink(missing_ok=True)
        return

    def log(metrics: Mapping[str, float]) -> None:
        cleaned = {clean_name(key): value for key, value in metrics.items()}
        tracker.attempt(f"the results of {name}", lambda: mlflow.log_metrics(cleaned))

    tracker.attempt(f"the child run {name}", lambda: _begin(name, parameters, record))
    status = RunStatus.FAILED
    try:
        with _own_metrics(name):
            yield log
        status = RunStatus.FINISHED
    finally:
        tracker.attempt(f"the end of {name}", lambda: mlflow.end_run(RunStatus.to_string(status)))
    record.unlink(missing_ok=True)


def model_run(name: str, results: "Sequence[BenchmarkResult]", folder: Path) -> None:
    """A run under the active one of a model that was benchmarked, so that MLflow compares models.

    Args:
        name: of the model.
        results: of all benchmarks and groups; metrics are `<metric>/<benchmark>`, what they must be read with
            are parameters.
        folder: that holds the record of a run that is not finished.
    """
    facts: dict[str, Any] = vars(results[0].facts) if results else {}
    shown: dict[str, Any] = {
        key: facts[key] for key in ("preprocessing", "flip", "model_digest") if key in facts
    }
    values = {
        f"{metric}/{result.name}": value for result in results for metric, value in result.metrics.items()
    }
    costs = {key: facts[key] for key in ("megabytes", "images_per_second") if facts.get(key) is not None}
    with child_run(name, {"model": name, **shown}, folder) as log:
        log(values | costs)


@contextmanager
def _own_metrics(name: str) -> Iterator[None]:
    """Where MLflow has failed, metrics of a child belong to a run of its own and not to the parent's."""
    run_id, facts = tracker.run_id, tracker.facts
    tracker.run_id, tracker.facts = None, replace(facts, run_name=name)
    try:
        yield
    finally:
        tracker.run_id, tracker.facts = run_id, facts


def _begin(name: str, parameters: Mapping[str, Any], record: Path) -> None:
    parent_id = mlflow.active_run().info.run_id
    unfinished = record.read_text(encoding="utf-8").strip() if record.exists() else None
    known = unfinished is not None and _belongs_to(unfinished, parent_id)
    child = mlflow.start_run(run_id=unfinished if known else None, run_name=name, nested=True)
    with whole_file(record) as temporary:
        temporary.write_text(child.info.run_id, encoding="utf-8")
    mlflow.log_params(dict(parameters))


def _belongs_to(run_id: str, parent_id: str) -> bool:
    try:
        return mlflow.get_run(run_id).data.tags.get(MLFLOW_PARENT_RUN_ID) == parent_id
    except MlflowException:
        return False
