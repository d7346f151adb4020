"""A tracker that forgets what the test before did, and stores of MLflow."""

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from tests.servers import MlflowServer

from lafs_pipeline.tracking.tracker import tracker


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Nothing is tracked at the start, and a request to a dead server ends soon."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    tracker.begin(is_on=True)
    yield
    tracker.end()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def database(tmp_path):
    """A SQLite store, whose runs keep their artifacts beside it."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("faces", (tmp_path / "artifacts").as_uri())
    return uri


@pytest.fixture
def active(database):
    """The active run of that store."""
    mlflow.set_tracking_uri(database)
    mlflow.set_experiment("faces")
    with mlflow.start_run(run_name="adapt") as run:
        yield run


@pytest.fixture(scope="session")
def _one_server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def server(_one_server):
    """A real `mlflow server` that runs, and may be stopped."""
    _one_server.start()
    return _one_server
