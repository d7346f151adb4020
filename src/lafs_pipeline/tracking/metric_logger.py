"""Live metrics and pictures of a training in the MLflow run that Kedro has open."""

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
from mlflow.entities import Metric
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.protos.service_pb2 import LogBatch
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.proto_json_utils import message_to_json
from mlflow.utils.rest_utils import http_request, verify_rest_response
from mlflow.utils.uri import is_http_uri
from PIL import Image

from lafs_pipeline.pipelines.spool import LARGEST_BATCH, Spool, Waiting

logger = logging.getLogger(__name__)

SPOOLS = "mlflow*-*.jsonl"
"""Names of spools; between hyphen and suffix stands the run's id."""
LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
FIRST_WAIT, LONGEST_WAIT, REQUEST_LIMIT, CLOSE_LIMIT = 1.0, 60.0, 30.0, 10.0
"""Seconds: between attempts, at first and at most; of one request; without progress while closing."""
REFUSALS = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}


class MlflowSink:
    """Logs to a run by its address, in the background, whether MLflow answers or not.

    Metrics and pictures wait in files of the training's folder until MLflow has taken them. Those that MLflow
    did not take before the training ended are sent when a sink of the same folder is used again. A step of
    MLflow is the number of images seen, so that curves of different batch sizes lie over each other. A sink
    can be pickled until it is used.

    Args:
        tracking_uri: of the MLflow store.
        run_id: of the open run.
        prefix: put before every name.
        folder: of the training; no two running sinks may share it.
    """

    def __init__(self, tracking_uri: str, run_id: str, prefix: str, folder: Path | str) -> None:
        self.tracking_uri, self.run_id, self.prefix = tracking_uri, run_id, prefix
        self.folder = Path(folder)
        self._senders: dict[_Kind, _Sender] = {}

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Take one step's metrics, and return before they are sent.

        Raises:
            LafsError: when the training's folder cannot be written.
        """
        self._put(METRICS, metrics, images_seen)

    def log_image(self, name: str, image: np.ndarray, images_seen: int) -> None:
        """Take a picture, and return before it is sent.

        Raises:
            LafsError: when the training's folder cannot be written.
        """
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, format="png")
        self._put(PICTURES, {name: encoded.getvalue()}, images_seen)

    def close(self) -> None:
        """Try for some seconds to send what waits; what still does is left in its file and named."""
        kinds = [kind for kind in KINDS if kind in self._senders or any(kind.spools(self.folder))]
        senders = [self._started(kind) for kind in kinds]
        for sender in senders:
            sender.hurry()
        for sender in senders:
            sender.close()
        self._senders.clear()

    def _put(self, kind: "_Kind", values: Mapping[str, float | bytes], images_seen: int) -> None:
        named = {f"{self.prefix}/{name}": value for name, value in values.items()}
        self._started(kind).put(named, int(time.time() * 1000), images_seen)

    def _started(self, kind: "_Kind") -> "_Sender":
        if kind not in self._senders:
            self._senders[kind] = _Sender(kind, self.tracking_uri, self.run_id, self.folder)
        return self._senders[kind]


def active_sinks(prefix: str, folder: Path | str) -> list[MlflowSink]:
    """A sink to the active MLflow run; none where tracking is switched off.

    Args:
        prefix: put before every metric's name.
        folder: of the training.
    """
    run = mlflow.active_run()
    return [MlflowSink(mlflow.get_tracking_uri(), run.info.run_id, prefix, folder)] if run else []


def spooled_run(spool: Path) -> str:
    """The id of the run that a spool belongs to."""
    return spool.stem.partition("-")[2]


class _Sender:
    """A thread that empties the spools of a kind: first those of earlier runs of a folder, then its own."""

    def __init__(self, kind: "_Kind", tracking_uri: str, run_id: str, folder: Path) -> None:
        self.kind, self.tracking_uri = kind, tracking_uri
        own = folder / f"{kind.prefix}-{run_id}.jsonl"
        earlier = sorted(
            (path for path in kind.spools(folder) if path != own), key=lambda path: path.stat().st_mtime
        )
        self._spools = [Spool(path, kind.largest_batch) for path in (*earlier, own)]
        self._is_down, self._sent = False, 0
        self._fresh, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{kind.prefix}-sink", daemon=True)
        self._thread.start()

    def put(self, values: Mapping[str, float | bytes], timestamp: int, step: int) -> None:
        self._spools[-1].append(values, timestamp, step)
        self._fresh.set()

    def hurry(self) -> None:
        """Wait for nothing any more but the answer to what is being sent."""
        self._closing.set()
        self._fresh.set()

    def close(self) -> None:
        """Wait until nothing is left, but no longer than MLflow takes something now and then."""
        before = -1
        while self._thread.is_alive() and self._sent > before:
            before = self._sent
            self._thread.join(CLOSE_LIMIT)
        left = [str(spool.path) for spool in self._spools if spool.path.exists()]
        if left:
            logger.warning(
                "MLflow has not taken all %s; the rest waits in %s and is sent when this training is "
                "started again%s",
                self.kind.name,
                ", ".join(left),
                self.kind.kept,
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
        run_id = spooled_run(spool.path)
        wait = FIRST_WAIT
        while True:
            values, end = spool.peek()
            closing = self._closing.is_set()
            try:
                if values:
                    self.kind.send(self.tracking_uri, run_id, values)
            except Exception as error:
                if skip_refused and getattr(error, "error_code", None) in REFUSALS:
                    logger.warning("MLflow refuses the %s in %s: %s", self.kind.name, spool.path, error)
                    return True
                if not self._is_down:
                    logger.warning(
                        "MLflow does not take %s; they wait in %s: %s", self.kind.name, spool.path, error
                    )
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
                logger.info("MLflow takes %s again", self.kind.name)
            self._is_down, wait = False, FIRST_WAIT


def _send_metrics(tracking_uri: str, run_id: str, values: list[Waiting]) -> None:
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


def _send_pictures(tracking_uri: str, run_id: str, values: list[Waiting]) -> None:
    """Calls of MLflow's log_image.

    Raises:
        Exception: when MLflow, or its artefact store, does not take them.
    """
    for name, picture, timestamp, step in values:
        image = Image.open(io.BytesIO(picture))
        MlflowClient(tracking_uri).log_image(run_id, image, key=name, step=step, timestamp=timestamp)


class _Kind(NamedTuple):
    """What is sent by a thread of its own, so that it keeps nothing else waiting."""

    name: str
    prefix: str
    largest_batch: int
    send: Callable[[str, str, list[Waiting]], None]
    kept: str

    def spools(self, folder: Path) -> Iterator[Path]:
        """The files in which something of this kind waits."""
        return folder.glob(f"{self.prefix}-*.jsonl")


METRICS = _Kind(
    "metrics", "mlflow", LARGEST_BATCH, _send_metrics, " (metrics.jsonl beside it has all of them)"
)
PICTURES = _Kind("pictures", "mlflow_pictures", 1, _send_pictures, "")
KINDS = (METRICS, PICTURES)
