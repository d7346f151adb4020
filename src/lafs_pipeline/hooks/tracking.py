"""One MLflow run for one command, whatever happens to the process, its hosts or the server."""

import atexit
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from mlflow.tracking import MlflowClient

from lafs_pipeline.hooks.continuity import CONTINUES, RunRecord, UnfinishedRun, command_digest
from lafs_pipeline.hooks.ending import stop_reason
from lafs_pipeline.hooks.facts import (
    describe,
    experiment_page,
    label,
    location,
    log_data,
    log_shots,
    log_table,
    silence_artifacts,
)
from lafs_pipeline.hooks.fallback import Fallback, redirect
from lafs_pipeline.hooks.hosts import is_first
from lafs_pipeline.hooks.labels import WHOLE, in_order, stage_experiment
from lafs_pipeline.hooks.model_logging import SERVED, log_model
from lafs_pipeline.hooks.plugin import mlflow_hook
from lafs_pipeline.pipelines.offline_runs import FINISHED, KILLED, find_run
from lafs_pipeline.pipelines.parameters import TrackingSettings, parse

logger = logging.getLogger(__name__)

NOWHERE = "sqlite:///:memory:"
"""Tracking URI of a process that tracks nothing."""


class TrackingHooks:
    """Around kedro-mlflow, which opens and closes the run and logs the parameters.

    The run of a command that did not finish is continued by the same command. Only the first process of the
    first host tracks. Where the server fails, tracking goes on offline.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Decide where this process tracks, before kedro-mlflow contacts that place."""
        self._context = context
        self._fallback = Fallback(context) if is_first(context.params.get("launch", {})) else None
        if self._fallback is None:
            redirect(context, NOWHERE)

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Iterator[None]:
        """Continue the run of the same command or let a new one start, and label it.

        The labels are tags, by which runs are found, and the first parameters, by which they are compared.
        """
        self._artifacts = silence_artifacts(pipeline, catalog)
        tracking = mlflow_hook.mlflow_config.tracking
        run_params = run_params | {"pipeline_names": in_order(run_params["pipeline_names"] or [])}
        pipelines = run_params["pipeline_names"] or [WHOLE]
        if self._fallback is None:
            tracking.disable_tracking.pipelines = pipelines
            return (yield)
        self._options = parse(TrackingSettings, self._context.params["tracking"], "tracking")
        self._checkpoints = Path(catalog.load("params:paths.checkpoints"))
        self._record = RunRecord(self._checkpoints)
        if tracking.run.id is None and "MLFLOW_RUN_ID" not in os.environ:
            self._fallback.enter_experiment(stage_experiment(tracking.experiment.name, pipelines))
        labels = label(run_params, pipeline, catalog)
        tracking.run.name = tracking.run.name or labels.run_name()
        digest = command_digest(
            self._fallback.configured_uri, tracking.experiment.name, run_params, self._context.params
        )
        tags = describe(run_params, catalog.load("params:seed")) | labels.tags() | self._continue(digest)
        try:
            result = yield
        except Exception as error:
            self._fallback.go_offline(error)
            result = mlflow_hook.before_pipeline_run(run_params, pipeline, catalog)
        run = mlflow.active_run()
        if run is not None:
            self._fallback.run_id, self._experiment = run.info.run_id, run.info.experiment_id
            atexit.register(_end_as_killed)
            self._record.write(UnfinishedRun(run.info.run_id, digest))
            tags |= self._fallback.tags()
            self._fallback.attempt(lambda: mlflow.set_tags(tags))
            self._try("the set of labels", lambda: mlflow.log_params(labels.tags()))
            if "faces" in pipeline.inputs() and catalog.exists("dataset_card"):
                card = catalog.load("dataset_card")
                self._fallback.attempt(lambda: log_data(card))
        return result

    def _continue(self, digest: str) -> dict[str, str]:
        """Let kedro-mlflow open the run of the same command if that did not finish.

        Returns:
            Tags of the run that it will open.
        """
        fallback, settings = self._fallback, mlflow_hook.mlflow_config.tracking.run
        old = self._record.read()
        same = old is not None and old.digest == digest
        moved = fallback.bring_home(self._checkpoints, old.run_id if same else None)
        if old is None or settings.id is not None or "MLFLOW_RUN_ID" in os.environ:
            return {}
        run_id = moved.get(old.run_id, old.run_id)
        run = fallback.attempt(lambda: find_run(MlflowClient(), run_id))
        unfinished = run is not None and run.info.status != FINISHED
        on_server = run is None and fallback.is_offline
        if same and unfinished:
            settings.id = run_id
            logger.info("the MLflow run %s of the same command goes on", run_id)
        elif same and on_server:
            fallback.server_run = run_id
        elif unfinished or on_server:
            return {CONTINUES: run_id}
        return {}

    @hook_impl(wrapper=True)
    def before_node_run(
        self, node: Node, catalog: DataCatalog, inputs: dict[str, Any], is_async: bool
    ) -> Iterator[None]:
        """Do not let an outage of the server end the run when parameters are logged."""
        try:
            return (yield)
        except Exception as error:
            self._go_on_offline(error)
            return [mlflow_hook.before_node_run(node, catalog, inputs, is_async)]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log artefacts, the data with its fingerprint, and every value of the table."""
        if mlflow.active_run() is None:
            return
        if dataset_name in self._artifacts:
            dataset = self._artifacts[dataset_name]
            path = str(location(dataset))
            self._try(path, lambda: mlflow.log_artifact(path, dataset.artifact_path))
            if dataset_name == SERVED:
                name = self._options.registered_model
                self._try(f"the model {SERVED}", lambda: log_model(Path(path), name))
        if dataset_name == "dataset_card":
            self._fallback.attempt(lambda: log_data(data))
        if dataset_name == "adapt_faces":
            self._fallback.attempt(lambda: log_shots(data))
        if dataset_name == "benchmarks":
            self._fallback.attempt(lambda: log_table(data))

    def _try(self, what: str, call: Callable[[], Any]) -> None:
        """Log what MLflow's artefact store may refuse while the run goes on."""
        try:
            self._fallback.attempt(call)
        except Exception as error:
            logger.warning("%s is not in the MLflow run: %s", what, error)

    @hook_impl(wrapper=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Iterator[None]:
        """Forget the finished run, bring it to a server that answers again, and say where it is shown."""
        try:
            result = yield
        except Exception as error:
            self._go_on_offline(error)
            result = [mlflow_hook.after_pipeline_run(run_params, pipeline, catalog)]
        if self._fallback is not None and self._fallback.run_id is not None:
            atexit.unregister(_end_as_killed)
            self._record.remove()
            self._fallback.bring_home(self._checkpoints)
            if not self._fallback.is_offline:
                ui = mlflow_hook.mlflow_config.ui
                page = experiment_page(
                    self._fallback.configured_uri, f"{ui.host}:{ui.port}", self._experiment
                )
                print(f"\nRuns to compare: {page}")
        return result

    @hook_impl(wrapper=True)
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Iterator[None]:
        """Mark the run of a stopped training as killed; kedro-mlflow marks all as failed."""
        try:
            result = yield
        except Exception as failure:
            self._go_on_offline(failure)
            result = [mlflow_hook.on_pipeline_error(error, run_params, pipeline, catalog)]
        fallback = self._fallback
        if fallback is not None and fallback.run_id is not None and stop_reason(error) is not None:
            fallback.attempt(lambda: MlflowClient().set_terminated(fallback.run_id, KILLED))
        return result

    def _go_on_offline(self, error: Exception) -> None:
        if self._fallback is None:
            raise error
        self._fallback.go_offline(error)
        self._fallback.begin_part()


def _end_as_killed() -> None:
    """Before MLflow, which takes a process that ends for a run that has finished."""
    with suppress(Exception):
        while mlflow.active_run():
            mlflow.end_run(KILLED)
