"""Live metrics of a training in the MLflow run that Kedro has open."""

import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient


class MlflowSink:
    """Logs metrics to a run by its address, so that it also works in another process.

    Args:
        tracking_uri: of the MLflow store.
        run_id: of the open run.
        prefix: put before every metric's name.
    """

    def __init__(self, tracking_uri: str, run_id: str, prefix: str) -> None:
        self.tracking_uri, self.run_id, self.prefix = tracking_uri, run_id, prefix

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log one batch of metrics."""
        now = int(time.time() * 1000)
        batch = [Metric(f"{self.prefix}/{name}", value, now, step) for name, value in metrics.items()]
        MlflowClient(self.tracking_uri).log_batch(self.run_id, metrics=batch)


def active_sinks(prefix: str) -> list[MlflowSink]:
    """A sink to the active MLflow run; none where tracking is switched off."""
    run = mlflow.active_run()
    return [MlflowSink(mlflow.get_tracking_uri(), run.info.run_id, prefix)] if run else []
