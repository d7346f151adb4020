"""One MLflow run per command, whatever happens to the process, its hosts or MLflow."""

import atexit
import logging
import os
import traceback
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from mlflow.entities import RunStatus
from mlflow.tracking import MlflowClient

from lafs_pipeline.hooks.advice import advice
from lafs_pipeline.hooks.ending import shown_error, stop_reason
from lafs_pipeline.models.methods import leading_pretrained
from lafs_pipeline.pipelines.parameters import TrackingSettings, parse
from lafs_pipeline.runtime.credentials import without_credentials
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch_settings import given_ranks
from lafs_pipeline.tracking.continuity import (
    CONTINUES,
    RunRecord,
    UnfinishedRun,
    command_digest,
    trained_nothing,
)
from lafs_pipeline.tracking.facts import (
    describe,
    experiment_page,
    label,
    log_data,
    log_shots,
    log_table,
    reserve_headline,
    saved_path,
)
from lafs_pipeline.tracking.labels import WHOLE, in_order, run_details, stage_experiment
from lafs_pipeline.tracking.metric_logger import notes_of
from lafs_pipeline.tracking.model_logging import SERVED, log_model
from lafs_pipeline.tracking.replay import complete_run, find_run
from lafs_pipeline.tracking.tracker import NOWHERE, RunFacts, tracker

logger = logging.getLogger(__name__)

FINISHED, FAILED, KILLED = map(RunStatus.to_string, (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED))


class TrackingHooks:
    """Around kedro-mlflow, which opens and closes the run and logs the parameters.

    The run of a command that did not finish is continued by the same command. Only the first process of the
    first host tracks. What MLflow fails at ends tracking and nothing else.
    """

    @hook_impl(wrapper=True, tryfirst=True)
    def after_context_created(self, context: KedroContext) -> Generator[None, Any, Any]:
        """Decide whether this process tracks, before kedro-mlflow contacts the store."""
        self._context: Any = context  # with what kedro-mlflow puts there
        self._run_id: str | None = None
        self._digest = ""
        self._earlier: UnfinishedRun | None = None
        self._has_saved = self._is_own = False
        self._options = parse(TrackingSettings, context.params.get("tracking", {}), "tracking")
        self._checkpoints = Path(context.params["paths"]["checkpoints"])
        self._uri = str(context.config_loader["mlflow"].get("server", {}).get("mlflow_tracking_uri"))
        is_on = self._options.enabled and is_first(context.params.get("launch", {}))
        tracker.begin(is_on, self._uri, self._checkpoints)
        if mlflow.active_run() is None:
            tracker.attempt(
                "the start of the run", lambda: MlflowClient(self._uri).search_experiments(max_results=1)
            )
        if not tracker.is_on:
            _redirect(context, NOWHERE)
        try:
            return (yield)
        except Exception as error:
            return _leave(error, "the start of the run")

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Generator[None, Any, Any]:
        """Continue the run of the same command or let a new one start, and label it.

        The labels are tags, by which runs are found, and the first parameters, by which they are compared.
        """
        self._catalog = catalog
        run_params = run_params | {"pipeline_names": in_order(run_params["pipeline_names"] or [])}
        pipelines = run_params["pipeline_names"] or [WHOLE]
        labels = tracker.attempt("the labels", lambda: self._prepare(run_params, pipelines, pipeline))
        if not tracker.is_on:
            with suppress(AttributeError):  # kedro-mlflow has no configuration where its own start has failed
                self._context.mlflow.tracking.disable_tracking.pipelines = pipelines
        try:
            result = yield
        except Exception as error:
            return _leave(error, "the start of the run")
        run = mlflow.active_run()
        if tracker.is_on and run is not None:
            self._run_id = tracker.run_id = run.info.run_id
            self._experiment = run.info.experiment_id
            atexit.register(_end_as_killed)
            record = RunRecord(self._checkpoints)
            self._earlier, self._has_saved = record.read(), False
            record.write(UnfinishedRun(self._run_id, self._digest))
            tracker.attempt("the labels", lambda: self._describe(labels, pipeline))
        return result

    def _prepare(
        self, run_params: dict[str, Any], pipelines: list[str], pipeline: Pipeline
    ) -> dict[str, str]:
        """Tell kedro-mlflow which run to open, and what it is called.

        Returns:
            The labels.
        """
        config = self._context.mlflow
        given = config.tracking.run.id is not None or "MLFLOW_RUN_ID" in os.environ
        self._is_own = not given and mlflow.active_run() is None
        experiment = stage_experiment(config.tracking.experiment.name, pipelines)
        if not given and experiment != config.tracking.experiment.name and mlflow.active_run() is None:
            config.tracking.experiment.name = experiment
            config.setup(self._context)
        labels = label(run_params, pipeline, self._catalog)
        name = labels.run_name() + run_details(pipelines, self._context.params)
        config.tracking.run.name = config.tracking.run.name or name
        self._digest = command_digest(
            self._uri, config.tracking.experiment.name, run_params, self._context.params
        )
        tags = describe(run_params, self._catalog.load("params:seed")) | labels.tags()
        if not given:
            tags |= self._continue()
        tracker.facts = RunFacts(config.tracking.experiment.name, config.tracking.run.name, tags)
        return labels.tags()

    def _continue(self) -> dict[str, str]:
        """Let kedro-mlflow open the run of the same command if that did not finish.

        Returns:
            Tags of the run that it will open.
        """
        old = RunRecord(self._checkpoints).read()
        run = None if old is None else find_run(MlflowClient(), old.run_id)
        if run is None or run.info.status == FINISHED:
            return {}
        if old.digest != self._digest:
            return {CONTINUES: old.run_id}
        self._context.mlflow.tracking.run.id = old.run_id
        logger.info("the MLflow run %s of the same command is continued", old.run_id)
        complete_run(MlflowClient(), old.run_id, self._checkpoints)
        return {}

    def _describe(self, labels: dict[str, str], pipeline: Pipeline) -> None:
        mlflow.set_tags(tracker.facts.tags)
        mlflow.log_params(labels)
        reserve_headline(pipeline, self._catalog)
        if "faces" in pipeline.inputs() and self._catalog.exists("dataset_card"):
            log_data(self._catalog.load("dataset_card"))

    @hook_impl(wrapper=True)
    def before_node_run(self) -> Generator[None, Any, Any]:
        """Do not let MLflow end the run when parameters are logged."""
        try:
            return (yield)
        except Exception as error:
            return _leave(error, "the parameters")

    @hook_impl
    def after_node_run(self) -> None:
        """Learn from the notes of trainings in other processes whether MLflow has failed there."""
        if tracker.is_on and self._run_id is not None:
            notes = notes_of(self._checkpoints, self._run_id)
            if any(note.has_failed for note in notes.values()):
                tracker.pass_over_failure()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the data with its fingerprint, every value of the table, and the model that is served."""
        self._has_saved = True
        if mlflow.active_run() is None:
            return
        log = {"dataset_card": log_data, "adapt_faces": log_shots, "benchmarks": log_table}.get(dataset_name)
        if log is not None:
            tracker.attempt(dataset_name, lambda: log(data))
        name = leading_pretrained(data) if dataset_name == SERVED else None
        if name is not None:
            path = saved_path(self._catalog, dataset_name) / f"{name}.safetensors"
            tracker.attempt(f"the model {path}", lambda: log_model(path, self._options.registered_model))

    @hook_impl(wrapper=True)
    def after_pipeline_run(self, pipeline: Pipeline) -> Generator[None, Any, Any]:
        """Forget the finished run, and say where it is shown; keep none that had nothing to do."""
        try:
            result = yield
        except Exception as error:
            result = _leave(error, "the end of the run")
        if self._run_id is not None:
            RunRecord(self._checkpoints).remove()
            self._end(FINISHED)
            nodes = {node.name for node in pipeline.nodes}
            if tracker.attempt("the end of the run", lambda: self._is_empty(nodes)):
                print("\nNothing was left to do: no MLflow run of this command is kept.")
                self._undo()
            if not tracker.has_failed:
                ui = self._context.mlflow.ui
                page = experiment_page(
                    without_credentials(self._uri), f"{ui.host}:{ui.port}", self._experiment
                )
                print(f"\nRuns to compare: {advice.complete(page)}")
        tracker.end()
        return result

    @hook_impl(wrapper=True)
    def on_pipeline_error(self, error: Exception) -> Generator[None, Any, Any]:
        """Mark the run of a stopped training as killed; kedro-mlflow marks all as failed."""
        try:
            result = yield
        except Exception as failure:
            result = _leave(failure, "the end of the run")
        if self._run_id is not None:
            stopped = stop_reason(error) is not None
            if stopped:
                client = MlflowClient(self._uri)
                tracker.attempt("the end of the run", lambda: client.set_terminated(self._run_id, KILLED))
            self._end(KILLED if stopped else FAILED)
            if isinstance(shown_error(error), LafsError) and not self._has_saved:
                self._undo()
        tracker.end()
        return result

    def _is_empty(self, nodes: set[str]) -> bool:
        """Whether all that the command was to do had been done before."""
        if self._earlier is not None and self._earlier.run_id == self._run_id:
            return False
        metrics = MlflowClient(self._uri).get_run(self._run_id).data.metrics
        return not self._has_saved or trained_nothing(metrics, nodes, self._context.params)

    def _undo(self) -> None:
        """Leave no run of a command that did nothing, nor its record."""
        if notes_of(self._checkpoints, self._run_id):
            return
        record, earlier = RunRecord(self._checkpoints), self._earlier
        if earlier is None:
            record.remove()
        else:
            record.write(earlier)
        if self._is_own and (earlier is None or earlier.run_id != self._run_id):
            tracker.attempt("the refused run", lambda: MlflowClient(self._uri).delete_run(self._run_id))

    def _end(self, status: str) -> None:
        """Nothing is left to do when the process ends; a replay tells MLflow the status that it missed."""
        atexit.unregister(_end_as_killed)
        if tracker.has_failed:
            for folder, note in notes_of(self._checkpoints, self._run_id).items():
                replace(note, status=status).write(folder)


def is_first(launch: dict[str, Any]) -> bool:
    """Whether this process is rank 0 of torchrun or srun, or elsewhere that of `launch.node_rank` 0."""
    given = given_ranks()
    return not launch.get("node_rank") if given is None else given.rank == 0


def _leave(error: Exception, what: str) -> list[Any]:
    """Turn tracking off after an error of kedro-mlflow's hooks.

    Returns:
        What hooks return instead.

    Raises:
        Exception: the error, where it came from elsewhere.
    """
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    if not any(frame.f_globals.get("__name__", "").startswith("kedro_mlflow") for frame in frames):
        raise error
    tracker.stop(what, error)
    return []


def _redirect(context: KedroContext, tracking_uri: str) -> None:
    """Let kedro-mlflow, which reads its configuration next, track elsewhere."""
    settings = context.config_loader["mlflow"]
    settings.setdefault("server", {})["mlflow_tracking_uri"] = tracking_uri
    experiment = settings.setdefault("tracking", {}).setdefault("experiment", {})
    experiment.setdefault("create_experiment_kwargs", {})["artifact_location"] = None
    context.config_loader["mlflow"] = settings


def _end_as_killed() -> None:
    """Before MLflow, which takes a process that ends for a run that has finished."""
    with suppress(Exception):
        while mlflow.active_run():
            mlflow.end_run(KILLED)
