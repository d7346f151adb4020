"""Live metrics and pictures of a training in an MLflow run."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from mlflow.utils.async_logging.run_operations import RunOperations

from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, MetricLogger
from lafs_pipeline.tracking.tracker import RunFacts, clean_name, tracker, without_credentials

logger = logging.getLogger(__name__)

NOTE_FILE = "mlflow.json"
SECONDS_BETWEEN = 5.0
"""A batch has this long to arrive before the training waits for it."""


@dataclass(frozen=True)
class TrainingNote:
    """Where the metrics of a training belong, as written beside its checkpoints.

    Attributes:
        prefix: of the metrics' names.
        tracking_uri: without credentials.
        runs: ids of MLflow runs that have these metrics, the newest first; empty where none could be opened.
        experiment: name.
        run_name: name.
        tags: of the run.
        has_failed: whether MLflow lacks metrics.
        status: of the run at its end, where MLflow could not be told.
    """

    prefix: str
    tracking_uri: str | None = None
    runs: list[str] = field(default_factory=list)
    experiment: str | None = None
    run_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    has_failed: bool = False
    status: str | None = None

    def write(self, folder: Path) -> None:
        """Write it into the training's folder; where that is not possible, a warning tells."""
        try:
            with whole_file(folder / NOTE_FILE) as temporary:
                temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        except OSError as error:
            logger.warning("%s cannot be written: %s", folder / NOTE_FILE, error)


def read_note(folder: Path) -> TrainingNote | None:
    """The note of a training; None where there is none that can be read."""
    try:
        return TrainingNote(**json.loads((folder / NOTE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def notes_of(checkpoints: Path, run_id: str) -> dict[Path, TrainingNote]:
    """The notes of the trainings that last logged to a run, by folder."""
    notes = {path.parent: read_note(path.parent) for path in sorted(checkpoints.rglob(NOTE_FILE))}
    return {folder: note for folder, note in notes.items() if note and note.runs[:1] == [run_id]}


class MlflowLogger(MetricLogger):
    """Logs to a run by its address, through MLflow's asynchronous queue, until MLflow fails.

    One batch is under way at a time: what is logged meanwhile makes the next one. So a failure is seen before
    anything else is sent, nothing waits in the queue when the process ends, and a dead server costs the
    time of one request. A step of MLflow is the number of images seen, so that curves of different batch
    sizes lie over each other. A logger can be pickled until it is used.

    Args:
        tracking_uri: of the MLflow store.
        run_id: of the open run; None logs nothing and only leaves the note for a replay.
        prefix: put before every name.
        facts: of the run.
    """

    def __init__(
        self, tracking_uri: str, run_id: str | None, prefix: str, facts: RunFacts | None = None
    ) -> None:
        self.tracking_uri, self.run_id, self.prefix = tracking_uri, run_id, prefix
        self.facts = facts or RunFacts()
        self._folder: Path | None = None
        self._waiting: list[Metric] = []
        self._sent: RunOperations | None = None
        self._sent_at = -SECONDS_BETWEEN

    def open(self, folder: Path) -> None:
        """Note in the training's folder which run its metrics belong to."""
        self._folder = folder
        before = read_note(folder) if (folder / METRICS_FILE).exists() else None
        runs = [run_id for run_id in (before.runs if before else []) if run_id != self.run_id]
        self._note = TrainingNote(
            prefix=self.prefix,
            tracking_uri=without_credentials(self.tracking_uri),
            runs=runs if self.run_id is None else [self.run_id, *runs],
            has_failed=not self._is_open(),
            **asdict(self.facts),
        )
        self._note.write(folder)

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Take one step's metrics; they are sent every few seconds."""
        if not self._is_open():
            return
        now = int(time.time() * 1000)
        self._waiting += [
            Metric(clean_name(f"{self.prefix}/{name}"), float(value), now, images_seen)
            for name, value in metrics.items()
        ]
        if time.monotonic() - self._sent_at >= SECONDS_BETWEEN:
            self._send()

    def log_image(self, name: str, image: np.ndarray, images_seen: int) -> None:
        """Send a picture."""
        if self._is_open():
            key = clean_name(f"{self.prefix}/{name}")
            try:
                self._client().log_image(self.run_id, image, key=key, step=images_seen)
            except Exception as error:
                self._fail("a picture", error)

    def close(self) -> None:
        """Send what waits, and see it arrive."""
        if self._is_open():
            self._send()
        if self._is_open():
            self._arrive()

    def _is_open(self) -> bool:
        return tracker.is_on and self.run_id is not None

    def _client(self) -> MlflowClient:
        return MlflowClient(self.tracking_uri)

    def _arrive(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            try:
                sent.wait()
            except Exception as error:
                self._fail("the metrics", error)

    def _send(self) -> None:
        self._arrive()
        if not self._waiting or not self._is_open():
            return
        try:
            self._sent = self._client().log_batch(self.run_id, self._waiting, synchronous=False)
        except Exception as error:
            self._fail("the metrics", error)
        self._waiting, self._sent_at = [], time.monotonic()

    def _fail(self, what: str, error: Exception) -> None:
        tracker.stop(f"{what} of {self.prefix}", error, self._folder)
        if self._folder is not None:
            replace(self._note, has_failed=True).write(self._folder)


def active_run_id() -> str:
    """Of the open MLflow run; empty where nothing is tracked."""
    run = mlflow.active_run() if tracker.is_on else None
    return "" if run is None else run.info.run_id


def active_loggers(prefix: str) -> list[MlflowLogger]:
    """A logger to the active MLflow run, or one that leaves a note where MLflow has failed; else none."""
    run = mlflow.active_run() if tracker.is_on else None
    if run is None:
        known = (tracker.tracking_uri, tracker.run_id, prefix, tracker.facts)
        return [MlflowLogger(*known)] if tracker.has_failed else []
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    facts = replace(tracker.facts, run_name=run.info.run_name, tags=tracker.facts.tags | tags)
    return [MlflowLogger(mlflow.get_tracking_uri(), run.info.run_id, prefix, facts)]
