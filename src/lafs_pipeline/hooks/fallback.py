"""Tracking that goes on in a store on this machine while the MLflow server does not answer."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import mlflow
from kedro.framework.context import KedroContext
from mlflow.exceptions import MlflowException
from mlflow.utils.uri import is_http_uri

from lafs_pipeline.hooks.plugin import mlflow_hook
from lafs_pipeline.pipelines.offline_runs import (
    PART_OF,
    PROCESS,
    OfflineStore,
    answers,
    bring_runs,
    is_outage,
    send_metrics,
    this_process,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


def redirect(context: KedroContext, tracking_uri: str, artifacts: Path | None = None) -> None:
    """Let kedro-mlflow, which reads its configuration next, track elsewhere."""
    settings = context.config_loader["mlflow"]
    settings.setdefault("server", {})["mlflow_tracking_uri"] = tracking_uri
    experiment = settings.setdefault("tracking", {}).setdefault("experiment", {})
    location = None if artifacts is None else artifacts.as_uri()
    experiment.setdefault("create_experiment_kwargs", {})["artifact_location"] = location
    context.config_loader["mlflow"] = settings


class Fallback:
    """Where one Kedro session is tracked: at the configured place, or offline.

    A session goes offline once and stays so to its end. A run that had begun on the server goes on in an
    offline run, which is put into the server's run when the server answers again.

    Attributes:
        configured_uri: tracking URI of `mlflow.yml`.
        is_offline: whether the offline store is used.
        run_id: of the run that is open now.
        server_run: the server's run that the open run goes on with, when it is offline.
    """

    def __init__(self, context: KedroContext) -> None:
        """Choose the place, before kedro-mlflow does."""
        self._context = context
        self.store = OfflineStore(Path(context.config_loader["globals"]["data"]))
        server = context.config_loader["mlflow"].get("server", {})
        self.configured_uri = str(server.get("mlflow_tracking_uri"))
        self._has_server = is_http_uri(self.configured_uri) and mlflow.active_run() is None
        self.is_offline = False
        self.run_id: str | None = None
        self.server_run: str | None = None
        self._run_name: str | None = None
        if self._has_server and not answers(self.configured_uri):
            self._leave_server("it does not answer")
            redirect(context, self.store.uri, self.store.artifacts)

    def _leave_server(self, reason: object) -> None:
        logger.warning(
            "the MLflow server %s cannot be used: %s. The run is tracked in %s; the next `kedro run` that "
            "finds the server answering brings it there",
            self.configured_uri,
            reason,
            self.store.database,
        )
        self.store.folder.mkdir(parents=True, exist_ok=True)
        self.is_offline = True

    def enter_experiment(self, name: str) -> None:
        """Let runs be opened in another experiment than that of `mlflow.yml`, where that can be made."""
        config, experiment = mlflow_hook.mlflow_config, mlflow_hook.mlflow_config.tracking.experiment
        usual = experiment.name
        if mlflow.active_run() is not None or name == usual:
            return
        experiment.name = name
        try:
            self.attempt(lambda: config.setup(self._context))
        except MlflowException as error:
            logger.warning("the experiment %s cannot be used, %s is: %s", name, usual, error)
            experiment.name = usual

    def attempt(self, call: Callable[[], T]) -> T:
        """Call MLflow; when the server has gone, call it again offline."""
        try:
            return call()
        except Exception as error:
            self.go_offline(error)
            self.begin_part()
            return call()

    def go_offline(self, error: Exception) -> None:
        """After a failed call, use the offline store from now on; no run is open afterwards.

        Raises:
            Exception: the error, when that does not help.
        """
        if not self._has_server or self.is_offline or not is_outage(error):
            raise error
        self._leave_server(error)
        config, opened = mlflow_hook.mlflow_config, mlflow.active_run()
        self.server_run = self.run_id or (opened.info.run_id if opened else config.tracking.run.id)
        self._run_name = opened.info.run_name if opened else None
        self.run_id = config.tracking.run.id = None
        config.server.mlflow_tracking_uri = self.store.uri
        config.tracking.experiment.create_experiment_kwargs.artifact_location = self.store.artifacts.as_uri()
        config.setup(self._context)
        while mlflow.active_run():
            with suppress(MlflowException):  # the offline store does not know the server's run
                mlflow.end_run()

    def begin_part(self) -> None:
        """Open an offline run that goes on with the server's run, where that had begun."""
        if self.server_run is not None:
            part = mlflow.start_run(run_name=self._run_name, tags=self.tags())
            mlflow_hook.run_id = self.run_id = part.info.run_id

    def tags(self) -> dict[str, str]:
        """What an offline run must be tagged with."""
        if not self.is_offline:
            return {}
        return {PROCESS: this_process()} | ({PART_OF: self.server_run} if self.server_run else {})

    def bring_home(self, checkpoints: Path, abandoned: str | None = None) -> dict[str, str]:
        """Bring to the server what waits on this machine: offline runs, and metrics of ended trainings.

        Args:
            checkpoints: folder of all trainings.
            abandoned: id of a run that counts as ended.

        Returns:
            The server's run of every offline run that was brought there.
        """
        if not self._has_server or (self.is_offline and not answers(self.configured_uri)):
            return {}
        moved: dict[str, str] = {}
        try:
            moved = bring_runs(self.store, self.configured_uri, abandoned)
            send_metrics(self.configured_uri, checkpoints, moved.get(abandoned, abandoned))
        except Exception as error:
            logger.warning("what waits for the MLflow server stays in %s: %s", self.store.folder, error)
        return moved
