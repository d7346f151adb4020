"""MLflow runs kept on this machine while their server does not answer, and brought to it later."""

import logging
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from mlflow.utils.rest_utils import http_request
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH
from requests import RequestException

from lafs_pipeline.pipelines.offline_models import copy_models, delete_models
from lafs_pipeline.pipelines.tracking import SPOOLS, MlflowSink, spooled_run

logger = logging.getLogger(__name__)

T = TypeVar("T")

OFFLINE_RUN = "lafs.offline_run_id"
"""Tag of a server's run: the offline run that it is a copy of."""
PART_OF = "lafs.part_of"
"""Tag of an offline run: the server's run that it goes on with."""
PROCESS = "lafs.process"
"""Tag of an offline run: host and process that write it."""
RUNNING, FINISHED, KILLED = map(
    RunStatus.to_string, (RunStatus.RUNNING, RunStatus.FINISHED, RunStatus.KILLED)
)
NO_SUCH_RUN = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}
ANSWER_LIMIT = 5.0
"""Seconds in which a server must answer."""
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500


@dataclass(frozen=True)
class OfflineStore:
    """MLflow's store for runs without their server, inside a data folder."""

    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "offline_mlflow.db"

    @property
    def uri(self) -> str:
        """Tracking URI."""
        return f"sqlite:///{self.database}"

    @property
    def artifacts(self) -> Path:
        """Folder of the artefacts: `<run id>/artifacts/...`."""
        return self.folder / "offline_mlflow_artifacts"


def answers(server_uri: str) -> bool:
    """Whether an MLflow server answers within some seconds."""
    try:
        response = http_request(
            get_default_host_creds(server_uri),
            "/health",
            "GET",
            max_retries=0,
            timeout=ANSWER_LIMIT,
            raise_on_status=False,
        )
    except MlflowException:
        return False
    return response.status_code < SERVER_ERROR


def is_outage(error: BaseException) -> bool:
    """Whether a failed call says that the server cannot be used now, not that it refuses the call."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
    elif isinstance(error, RequestException):
        status = SERVER_ERROR if error.response is None else error.response.status_code
    else:
        return False
    return status >= SERVER_ERROR or status == TOO_MANY_REQUESTS


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


def this_process() -> str:
    """Value of the tag `PROCESS`."""
    return f"{socket.gethostname()}/{os.getpid()}"


def bring_runs(offline: OfflineStore, server_uri: str, abandoned: str | None = None) -> dict[str, str]:
    """Copy the ended runs of an offline store to the server, and delete them from the store.

    An offline run becomes a run of the same experiment, or is put into the server's run that it goes on with.
    What was copied in part by a process that broke off is completed and not doubled. A run that cannot be
    copied stays, with a warning.

    Args:
        offline: the store.
        server_uri: of the server; it must answer.
        abandoned: id of a run that counts as ended, with its parts, whatever its status.

    Returns:
        The server's run of every run that was copied.
    """
    if not offline.database.exists():
        return {}
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    copied: dict[str, str] = {}
    for run in _ended_runs(source, abandoned):
        run_id = run.info.run_id
        try:
            copied[run_id] = _copy(run, source, server, offline)
        except Exception as error:
            logger.warning("the offline run %s stays in %s: %s", run_id, offline.database, error)
            if is_outage(error):
                break
            continue
        delete_models(run, source)
        source.delete_run(run_id)
        shutil.rmtree(offline.artifacts / run_id, ignore_errors=True)
    if copied:
        logger.info("offline runs brought to the MLflow server %s: %d", server_uri, len(copied))
    return copied


def send_metrics(server_uri: str, checkpoints: Path, abandoned: str | None = None) -> None:
    """Send what the sinks of ended runs could not; a run that still goes on sends its own.

    Args:
        server_uri: of the server; it must answer.
        checkpoints: folder of all trainings.
        abandoned: id of a run that counts as ended.

    Raises:
        MlflowException: when the server does not answer.
    """
    server = MlflowClient(server_uri)
    for path in sorted(checkpoints.glob(f"*/{SPOOLS}")):
        run_id = spooled_run(path)
        run = find_run(server, run_id)
        if run is not None and (run.info.status != RUNNING or run_id == abandoned):
            MlflowSink(server_uri, run_id, "", path.parent).close()


def _ended_runs(source: MlflowClient, abandoned: str | None) -> Iterator[Run]:
    """From the oldest to the newest."""
    experiments = [experiment.experiment_id for experiment in source.search_experiments()]
    found = source.search_runs(
        experiments,
        max_results=SEARCH_MAX_RESULTS_THRESHOLD,
        order_by=["attributes.start_time ASC"],
    )
    for run in found:
        mine = abandoned is not None and abandoned in (run.info.run_id, run.data.tags.get(PART_OF))
        if mine or run.info.status != RUNNING or _is_gone(run.data.tags.get(PROCESS, "")):
            yield run


def _is_gone(process: str) -> bool:
    """Whether a process of this host has ended, where that can be told."""
    host, _, number = process.rpartition("/")
    return host == socket.gethostname() and Path("/proc/self").exists() and not Path("/proc", number).exists()


def _copy(run: Run, source: MlflowClient, server: MlflowClient, offline: OfflineStore) -> str:
    tags = {key: value for key, value in run.data.tags.items() if key not in (PART_OF, PROCESS)}
    whole = find_run(server, run.data.tags[PART_OF]) if PART_OF in run.data.tags else None
    if whole is None:
        copy_id = _counterpart(run, source, server, tags)
    else:
        copy_id = whole.info.run_id
        tags = {
            key: value
            for key, value in tags.items()
            if key == MLFLOW_LOGGED_IMAGES or not key.startswith("mlflow.")
        }
    for part in _batches([RunTag(key, value) for key, value in tags.items()], MAX_PARAMS_TAGS_PER_BATCH):
        server.log_batch(copy_id, tags=part)
    params = [Param(key, value) for key, value in run.data.params.items()]
    for part in _batches(params, MAX_PARAMS_TAGS_PER_BATCH):
        server.log_batch(copy_id, params=part)
    last = _copy_metrics(run, source, server, copy_id)
    if run.inputs.dataset_inputs:
        server.log_inputs(copy_id, run.inputs.dataset_inputs)
    artifacts = offline.artifacts / run.info.run_id / "artifacts"
    if artifacts.is_dir():
        server.log_artifacts(copy_id, str(artifacts))
    copy_models(run, source, server, copy_id)
    if whole is None or whole.info.status != FINISHED:
        killed = run.info.status == RUNNING
        server.set_terminated(copy_id, *((KILLED, last) if killed else (run.info.status, run.info.end_time)))
    return copy_id


def _counterpart(run: Run, source: MlflowClient, server: MlflowClient, tags: dict[str, str]) -> str:
    """The run that becomes the copy: made now, or by a process that broke off."""
    name = source.get_experiment(run.info.experiment_id).name
    experiment = server.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else server.create_experiment(name)
    begun = server.search_runs([experiment_id], f"tags.`{OFFLINE_RUN}` = '{run.info.run_id}'", max_results=1)
    if begun:
        return begun[0].info.run_id
    tags = tags | {OFFLINE_RUN: run.info.run_id}
    return server.create_run(experiment_id, run.info.start_time, tags, run.info.run_name).info.run_id


def _copy_metrics(run: Run, source: MlflowClient, server: MlflowClient, copy_id: str) -> int:
    """Copy every value; returns the time of the last one, or of the start (milliseconds since 1970)."""
    last = run.info.start_time
    for key in run.data.metrics:
        history = source.get_metric_history(run.info.run_id, key)
        last = max(last, *(metric.timestamp for metric in history))
        values = [Metric(key, metric.value, metric.timestamp, metric.step) for metric in history]
        for part in _batches(values, MAX_METRICS_PER_BATCH):
            server.log_batch(copy_id, metrics=part)
    return last


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
