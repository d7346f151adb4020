"""Metrics that MLflow lacks, brought to it from the folders of trainings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, read_metrics
from lafs_pipeline.runtime.settings import flattened
from lafs_pipeline.tracking.metric_logger import TrainingNote, notes_of, read_note
from lafs_pipeline.tracking.tracker import clean_name, without_credentials

EXPERIMENT = "lafs_pipeline"
NO_SUCH_RUN = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}
NO_METRICS = ("step", "images_seen", "time_ms")
RUNNING, FINISHED = map(RunStatus.to_string, (RunStatus.RUNNING, RunStatus.FINISHED))


@dataclass(frozen=True)
class Replayed:
    """What was sent of one training."""

    folder: Path
    run_id: str
    is_new: bool
    sent: int
    present: int
    tracking_uri: str

    def __str__(self) -> str:
        run = "a new run" if self.is_new else "its run"
        return (
            f"{self.folder}: {self.sent} points sent to {run} {self.run_id} at {self.tracking_uri}, "
            f"{self.present} were there"
        )


def replay(folder: Path, tracking_uri: str | None = None) -> Iterator[Replayed]:
    """Send what MLflow lacks of the metrics of a training, or of all trainings below a folder.

    Points go to the training's own run where the store has it, else to a new run with the training's
    configuration as parameters. Pictures and artifacts are not sent.

    Raises:
        LafsError: when there are no metrics, or the store does not take them.
    """
    found = [folder] if (folder / METRICS_FILE).is_file() else sorted(_trainings(folder))
    if not found:
        raise LafsError(
            f"{folder} has no {METRICS_FILE}, nor has a folder in it; expected the folder of a training, "
            "such as data/06_models/checkpoints/pretrain_lafs"
        )
    for training in found:
        note = read_note(training) or TrainingNote(prefix=training.name)
        uri = tracking_uri or note.tracking_uri
        if uri is None:
            raise LafsError(f"{training} was not tracked; say where to with --tracking-uri")
        try:
            yield _replay(training, note, uri)
        except MlflowException as error:
            reason = without_credentials(str(error).partition("\n")[0])
            raise LafsError(
                f"MLflow at {without_credentials(uri)} does not take {training}: {reason}"
            ) from error


def complete_run(client: MlflowClient, run_id: str, checkpoints: Path) -> None:
    """Send what a run that is continued lacks of its trainings.

    Raises:
        MlflowException: when the store does not take it.
    """
    for folder, note in notes_of(checkpoints, run_id).items():
        if (folder / METRICS_FILE).is_file():
            _send_missing(client, run_id, note.prefix, folder)
        replace(note, has_failed=False, status=None).write(folder)


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """A run that exists and is not deleted; None also for what cannot be an id.

    Raises:
        MlflowException: when the store does not answer.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in NO_SUCH_RUN:
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _trainings(folder: Path) -> Iterator[Path]:
    return (path.parent for path in folder.rglob(METRICS_FILE))


def _replay(folder: Path, note: TrainingNote, uri: str) -> Replayed:
    client = MlflowClient(uri)
    run = next(filter(None, (find_run(client, run_id) for run_id in note.runs)), None)
    run_id = run.info.run_id if run else _new_run(client, folder, note)
    sent, present, last = _send_missing(client, run_id, note.prefix, folder)
    if run is None:
        client.set_terminated(run_id, FINISHED, last)
    elif note.status is not None and run.info.status == RUNNING:
        client.set_terminated(run_id, note.status)
    runs = [run_id, *(known for known in note.runs if known != run_id)]
    replace(note, runs=runs, has_failed=False, status=None).write(folder)
    return Replayed(folder, run_id, run is None, sent, present, without_credentials(uri))


def _new_run(client: MlflowClient, folder: Path, note: TrainingNote) -> str:
    from lafs_pipeline.training.checkpoints.folders import read_training

    name = note.experiment or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    run_name = " ".join(filter(None, (note.run_name, note.prefix)))
    first = next(read_metrics(folder / METRICS_FILE), {})
    run_id = client.create_run(experiment_id, first.get("time_ms"), note.tags, run_name).info.run_id
    flat = flattened(read_training(folder).configuration)
    client.log_batch(run_id, params=[Param(clean_name(key), str(value)) for key, value in flat.items()])
    return run_id


def _send_missing(client: MlflowClient, run_id: str, prefix: str, folder: Path) -> tuple[int, int, int]:
    """How many points were sent, how many were there, and the time of the last in ms."""
    path = folder / METRICS_FILE
    written = int(path.stat().st_mtime * 1000)
    points = [
        Metric(
            clean_name(f"{prefix}/{name}"), float(value), line.get("time_ms", written), line["images_seen"]
        )
        for line in read_metrics(path)
        for name, value in line.items()
        if name not in NO_METRICS
    ]
    there = {
        (key, point.step)
        for key in {point.key for point in points}
        for point in client.get_metric_history(run_id, key)
    }
    missing = [point for point in points if (point.key, point.step) not in there]
    client.log_batch(run_id, metrics=missing)
    last = max((point.timestamp for point in points), default=written)
    return len(missing), len(points) - len(missing), last
