"""Live metrics of a training in the MLflow run that Kedro has open."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Metric
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.protos.service_pb2 import LogBatch
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.proto_json_utils import message_to_json
from mlflow.utils.rest_utils import http_request, verify_rest_response
from mlflow.utils.uri import is_http_uri

from lafs_pipeline.pipelines.spool import Spool, Waiting

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = "mlflow-", ".jsonl"
"""Around the run's id in the name of a spool."""
LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
FIRST_WAIT, LONGEST_WAIT, REQUEST_LIMIT, CLOSE_LIMIT = 1.0, 60.0, 30.0, 10.0
"""Seconds: between attempts, at first and at most; of one request; without progress while closing."""
REFUSALS = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}


class MlflowSink:
    """Logs metrics to a run by its address, in the background, whether MLflow answers or not.

    Metrics wait in a file of the training's folder until MLflow has taken them. Those that MLflow did not
    take before the training ended are sent when a sink of the same folder is used again. A metric's step in
    MLflow is the number of images seen, so that curves of different batch sizes lie over each other. A sink
    can be pickled until it is used.

    Args:
        tracking_uri: of the MLflow store.
        run_id: of the open run.
        prefix: put before every metric's name.
        folder: of the training; no two running sinks may share it.
    """

    def __init__(self, tracking_uri: str, run_id: str, prefix: str, folder: Path | str) -> None:
        self.tracking_uri, self.run_id, self.prefix = tracking_uri, run_id, prefix
        self.folder = Path(folder)
        self._sender: _Sender | None = None

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Take one step's metrics, and return before they are sent; MLflow's steps are images seen.

        Raises:
            LafsError: when the training's folder cannot be written.
        """
        named = {f"{self.prefix}/{name}": value for name, value in metrics.items()}
        self._started().put(named, int(time.time() * 1000), images_seen)

    def close(self) -> None:
        """Try for some seconds to send what waits; what still does is left in its file and named."""
        self._started().close()
        self._sender = None

    def _started(self) -> "_Sender":
        if self._sender is None:
            self._sender = _Sender(self.tracking_uri, self.run_id, self.folder)
        return self._sender


def active_sinks(prefix: str, folder: Path | str) -> list[MlflowSink]:
    """A sink to the active MLflow run; none where tracking is switched off.

    Args:
        prefix: put before every metric's name.
        folder: of the training.
    """
    run = mlflow.active_run()
    return [MlflowSink(mlflow.get_tracking_uri(), run.info.run_id, prefix, folder)] if run else []


class _Sender:
    """A thread that empties the spools of a training's folder: first those of earlier runs, then its own."""

    def __init__(self, tracking_uri: str, run_id: str, folder: Path) -> None:
        self.tracking_uri = tracking_uri
        own = folder / f"{PREFIX}{run_id}{SUFFIX}"
        earlier = sorted(
            (path for path in folder.glob(f"{PREFIX}*{SUFFIX}") if path != own),
            key=lambda path: path.stat().st_mtime,
        )
        self._spools = [Spool(path) for path in (*earlier, own)]
        self._is_down, self._sent = False, 0
        self._fresh, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow-sink", daemon=True)
        self._thread.start()

    def put(self, metrics: Mapping[str, float], timestamp: int, step: int) -> None:
        self._spools[-1].append(metrics, timestamp, step)
        self._fresh.set()

    def close(self) -> None:
        """Wait until nothing is left, but no longer than MLflow takes something now and then."""
        self._closing.set()
        self._fresh.set()
        before = -1
        while self._thread.is_alive() and self._sent > before:
            before = self._sent
            self._thread.join(CLOSE_LIMIT)
        left = [str(spool.path) for spool in self._spools if spool.path.exists()]
        if left:
            logger.warning(
                "MLflow has not taken all metrics; the rest waits in %s and is sent when this training is "
                "started again (metrics.jsonl beside it has all of them)",
                ", ".join(left),
            )

    def _run(self) -> None:
        for spool in self._spools[:-1]:
            if not self._empty(spool, skip_refused=True):
                return
        while True:
            closing = self._closing.is_set()
            if not self._empty(self._spools[-1], skip_refused=False) or closing:
                return
            self._fresh.wait()
            self._fresh.clear()

    def _empty(self, spool: Spool, skip_refused: bool) -> bool:
        """Send until nothing waits; False when MLflow does not take it and there is no time to try again."""
        run_id = spool.path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
        wait = FIRST_WAIT
        while True:
            values, end = spool.peek()
            closing = self._closing.is_set()
            try:
                if values:
                    _send(self.tracking_uri, run_id, values)
            except Exception as error:
                if skip_refused and getattr(error, "error_code", None) in REFUSALS:
                    logger.warning("MLflow refuses the metrics in %s: %s", spool.path, error)
                    return True
                if not self._is_down:
                    logger.warning("MLflow does not take metrics; they wait in %s: %s", spool.path, error)
                self._is_down = True
                if closing:
                    return False
                self._closing.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            spool.take(end)
            self._sent += len(values)
            if not values:
                return True
            if self._is_down:
                logger.info("MLflow takes metrics again")
            self._is_down, wait = False, FIRST_WAIT


def _send(tracking_uri: str, run_id: str, values: list[Waiting]) -> None:
    """One call of MLflow's log_batch; over HTTP without the client's own attempts, which take minutes.

    Raises:
        MlflowException: when MLflow does not take them.
    """
    metrics = [Metric(*value) for value in values]
    if not is_http_uri(tracking_uri):
        MlflowClient(tracking_uri).log_batch(run_id, metrics=metrics)
        return
    message = LogBatch(run_id=run_id, metrics=[metric.to_proto() for metric in metrics])
    response = http_request(
        get_default_host_creds(tracking_uri),
        LOG_BATCH,
        "POST",
        json=json.loads(message_to_json(message)),
        max_retries=0,
        timeout=REQUEST_LIMIT,
    )
    verify_rest_response(response, LOG_BATCH)
