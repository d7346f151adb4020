"""`kedro run` with a tracking server that keeps runs in PostgreSQL and files in a store of its own."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from tests.servers import free_port

from lafs_pipeline.sources.synthetic.faces import draw_face

USER = "postgres" if os.geteuid() == 0 else None
"""PostgreSQL does not run as root."""


def program(name):
    """A program of PostgreSQL, also where Debian keeps it."""
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        pytest.skip(f"PostgreSQL is not installed ({name})")
    return found


def call(*command):
    subprocess.run(command, user=USER, check=True, capture_output=True, cwd="/", timeout=120)


@pytest.fixture(scope="module")
def database():
    """The address of an empty database on the loopback interface."""
    initdb, pg_ctl, createdb = map(program, ("initdb", "pg_ctl", "createdb"))
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if USER:
        shutil.chown(folder, USER)
    cluster = str(folder / "cluster")
    call(initdb, "--auth=trust", "--username=lafs", "--encoding=UTF8", "--locale=C", "-D", cluster)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    call(pg_ctl, "start", "--wait", "-D", cluster, "-l", str(folder / "log"), "-o", options)
    try:
        call(createdb, "--host=127.0.0.1", f"--port={port}", "--username=lafs", "mlflow")
        yield f"postgresql+psycopg2://lafs@127.0.0.1:{port}/mlflow"
    finally:
        call(pg_ctl, "stop", "--mode=immediate", "-D", cluster)
        shutil.rmtree(folder)


@pytest.fixture
def server_on_postgres(server, database):
    server.database = database
    server.start()
    return server


@pytest.mark.slow
def test_a_run_by_the_environment_variable_alone(server_on_postgres, kedro_run, tmp_path, runs, monkeypatch):
    server = server_on_postgres
    run = kedro_run(tmp_path / "data", MLFLOW_TRACKING_URI=server.uri)
    assert run.finish() == 0, run.stderr[-3000:]
    assert "cannot be used" not in run.stdout
    assert "is not in the MLflow run" not in run.stdout
    client = MlflowClient(server.uri)
    (tracked,) = runs(server.uri)
    assert (tracked.info.status, tracked.data.tags["method"]) == ("FINISHED", "grid+lafs")
    run_id = tracked.info.run_id
    for stage in ("stage1", "pretrain_lafs", "adapt_lafs", "adapt_scratch"):
        assert [point.step for point in client.get_metric_history(run_id, f"{stage}/loss")]
    assert any(name.startswith("system/") for name in tracked.data.metrics)
    pictures = {item.path.split("/")[1].split("+")[0] for item in client.list_artifacts(run_id, "images")}
    assert {"stage1~landmarks", "pretrain_lafs~views", "adapt_lafs~landmarks"} <= pictures
    assert {entry.dataset.name for entry in tracked.inputs.dataset_inputs} == {"synthetic", "held_out"}
    assert (tmp_path / "server" / "files").is_dir()

    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", server.uri)
    model = mlflow.pyfunc.load_model("models:/lafs_face_model/1")
    embedding = model.predict(draw_face(0, 0, 0).image[None])
    assert embedding.shape == (1, 96)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
