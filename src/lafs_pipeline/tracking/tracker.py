"""Whether this process still sends to MLflow, and what is said once it does not."""

import logging
import os
import posixpath
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import mlflow

from lafs_pipeline.runtime.credentials import without_credentials

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOWHERE = "sqlite:///:memory:"
"""Tracking URI of a process that tracks nothing."""
REPEATING = (
    "urllib3.connectionpool",
    "mlflow.store.db.utils",
    "mlflow.system_metrics.system_metrics_monitor",
    "mlflow.utils.async_logging.async_logging_queue",
)
"""Loggers that report every failed request, some with a traceback; one warning of ours says it for all."""
LONGEST_NAME = 250
STORES = {
    # of MLflow's message -> what it means here
    "out-of-date database schema": (
        "{uri} was written by another version of MLflow: if by an older one, copy it, then run mlflow db "
        "upgrade {uri}; if by a newer one, install that, or name another database in MLFLOW_TRACKING_URI"
    ),
    "filesystem tracking backend": (
        "{uri} is a folder, in which MLflow keeps no runs any more: name a database, as in "
        "MLFLOW_TRACKING_URI=sqlite:///FILE; mlflow migrate-filestore brings the runs of a folder there"
    ),
}

# MLflow would print addresses of runs with the user and password of the server.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
for _name in REPEATING:
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class RunFacts:
    """What a run of MLflow is, or would have been if MLflow had answered."""

    experiment: str | None = None
    run_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class Tracker:
    """Tracking of one `kedro run`: after the first failure nothing more is sent, and the run goes on.

    Attributes:
        is_on: whether MLflow still gets what happens.
        has_failed: whether it was on, and MLflow failed.
        tracking_uri: where the run is tracked; None where only MLflow knows.
        run_id: of the run that trainings belong to when MLflow has failed; None where none was opened.
        facts: of the run.
    """

    def __init__(self) -> None:
        self.begin(is_on=True)

    def begin(
        self, is_on: bool, tracking_uri: str | None = None, checkpoints: Path | str | None = None
    ) -> None:
        """Start anew."""
        self.is_on, self.has_failed = is_on, False
        self.run_id: str | None = None
        self.facts = RunFacts()
        self.tracking_uri, self._checkpoints = tracking_uri, checkpoints
        self._uri_before: str | None = None
        self._is_within_another = mlflow.active_run() is not None

    def attempt(self, what: str, call: Callable[[], T]) -> T | None:
        """Call MLflow while tracking is on; None where it is off, or fails."""
        if not self.is_on:
            return None
        try:
            return call()
        except Exception as error:
            self.stop(what, error)
            return None

    def stop(self, what: str, error: Exception, folder: Path | str | None = None) -> None:
        """Say once that tracking has failed; MLflow's calls in this process end at once from now on."""
        if not self.is_on:
            return
        logger.warning(
            "MLflow failed at %s (%s). From now on it gets nothing of this run, which goes on and writes all "
            "its files. When MLflow answers again, this brings it the curves: lafs replay %s",
            what,
            without_credentials(self._reason(error)),
            folder or self._checkpoints or "FOLDER",
        )
        self.pass_over_failure()

    def _reason(self, error: Exception) -> str:
        """The first line of what MLflow says, or what that means."""
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        meant = next((meant for words, meant in STORES.items() if words in said), None)
        return said if meant is None else meant.format(uri=self.tracking_uri or mlflow.get_tracking_uri())

    def pass_over_failure(self) -> None:
        """Turn tracking off after a failure that another process has reported."""
        self.is_on, self.has_failed = False, True
        self._uri_before = mlflow.get_tracking_uri()
        self.tracking_uri = self.tracking_uri or self._uri_before
        mlflow.set_tracking_uri(NOWHERE)
        while mlflow.active_run() and not self._is_within_another:
            with suppress(Exception):  # it is removed from the open runs before MLflow looks for it
                mlflow.end_run()

    def end(self) -> None:
        """Leave MLflow to whatever follows in this process."""
        if self._uri_before is not None:
            mlflow.set_tracking_uri(self._uri_before)
            self._uri_before = None


tracker = Tracker()
"""Of this process."""


def log_resolved(values: Mapping[str, float]) -> None:
    """Tell the active run the values that `auto` stands for; those of a run that is resumed stay."""

    def send() -> None:
        if run := mlflow.active_run():
            known = mlflow.get_run(run.info.run_id).data.params
            mlflow.log_params({name: value for name, value in values.items() if name not in known})

    tracker.attempt("the parameters", send)


def clean_name(name: str) -> str:
    """A name as MLflow takes it: letters, digits and `/_.- :`, a path that is its own normal form."""
    cleaned = posixpath.normpath(re.sub(r"[^/\w.\- :]", "_", name)).lstrip("/")
    return re.sub(r"^\.+", "_", cleaned)[:LONGEST_NAME] or "_"
