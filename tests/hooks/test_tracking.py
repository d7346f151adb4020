"""`kedro run` whatever MLflow does: it ends with its results, and the curves can be brought later."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tests.servers import free_port

from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.tracking.continuity import RunRecord
from lafs_pipeline.tracking.metric_logger import read_note

PROJECT = Path(__file__).parents[2]
TWO_SESSIONS = """
import sys
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

project = Path.cwd()
bootstrap_project(project)
hooks = []
for pipeline in ("cataloging", "report"):
    print(f"session {pipeline}", flush=True)
    with KedroSession.create(project, env="smoke") as session:
        nodes = ["cataloging.dataset_card"] if hooks else None
        session.run(pipeline_names=["cataloging"], node_names=nodes)
    hooks.append(sys.excepthook)
depth, hook = 0, sys.excepthook
while hasattr(hook, "show_rest"):
    depth, hook = depth + 1, hook.show_rest
print(f"depth {depth}")
"""


def warnings(run):
    """What a run says of MLflow's failures."""
    return run.stdout.count("MLflow failed")


def curve(client, run_id, stage):
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, f"{stage}/loss"))


def written_curve(data, stage):
    (metrics,) = (data / f"06_models/checkpoints/{stage}").glob("*/metrics.jsonl")
    lines = metrics.read_text().splitlines()
    return [(row["images_seen"], row["loss"]) for row in map(json.loads, lines) if "loss" in row]


def test_a_server_that_is_down_at_the_start(kedro_run, tmp_path):
    address = f"http://somebody:secret@127.0.0.1:{free_port()}"
    run = kedro_run(tmp_path, "--pipelines=cataloging", MLFLOW_TRACKING_URI=address)
    assert run.finish() == 0, run.stderr[-3000:]
    assert warnings(run) == 1
    assert "secret" not in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert "Next: kedro run" in run.stdout
    assert (tmp_path / "08_reporting/dataset_card.json").exists()


def test_a_run_that_mlflow_does_not_have(kedro_run, tmp_path):
    """MLflow fails after all that checks, before anything runs."""
    run = kedro_run(tmp_path, "--to-nodes=cataloging.ingest", MLFLOW_RUN_ID="0" * 32)
    assert run.finish() == 0, run.stderr[-3000:]
    assert warnings(run) == 1
    assert "step 1 of 1" in run.stdout
    assert (tmp_path / "02_intermediate/ingested.parquet").exists()


def test_tracking_can_be_turned_off(kedro_run, tmp_path):
    run = kedro_run(tmp_path, "--pipelines=cataloging", "--params=tracking.enabled=false")
    assert run.finish() == 0, run.stderr[-3000:]
    assert warnings(run) == 0
    assert "Runs to compare" not in run.stdout
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "06_models/checkpoints/mlflow_run.json").exists()


def test_two_sessions_in_one_process(tmp_path, runs):
    """Each has its own run and its own summary, and shows errors once."""
    variables = {"LAFS_DATA": str(tmp_path), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    finished = subprocess.run(
        [sys.executable, "-c", TWO_SESSIONS],
        cwd=PROJECT,
        env=os.environ | variables | {"COLUMNS": "250", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    first, second = finished.stdout.split("session report")
    assert first.count("faces.parquet") == second.count("dataset_card.json") == 1
    assert "faces.parquet" not in second
    assert first.count("Runs to compare") == second.count("Runs to compare") == 1
    assert "depth 1" in second
    tracked = runs(variables["MLFLOW_TRACKING_URI"])
    assert [run.info.status for run in tracked] == ["FINISHED", "FINISHED"]
    assert len({run.info.run_id for run in tracked}) == 2


def training_of(run, data):
    """The folder of the pretraining, as soon as it is there."""
    parent = data / "06_models/checkpoints/pretrain_lafs"
    run.wait_while_it_runs(lambda: any(parent.glob("*/metrics.jsonl")))
    return next(parent.glob("*/metrics.jsonl")).parent


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_server_that_dies_in_a_training_and_comes_back_after_the_run(
    kedro_run, server, data, runs, capsys, processes
):
    server.start()
    settings = f"--params=pretrain.methods=[lafs],pretrain.training.epochs=15,launch.processes={processes}"
    run = kedro_run(data, "--pipelines=pretrain", settings, MLFLOW_TRACKING_URI=server.uri)
    folder = training_of(run, data)
    run.wait_for_file(folder / "metrics.jsonl", lambda text: text.count("\n") > 5)
    server.stop()
    assert run.finish() == 0, run.stderr[-3000:]
    assert (run.stdout + run.stderr).count("MLflow failed") == 1
    assert (data / "06_models/backbones/lafs.safetensors").exists()
    assert RunRecord(data / "06_models/checkpoints").read() is None
    assert len(written_curve(data, "pretrain_lafs")) == 60

    server.start()
    client = MlflowClient(server.uri)
    (tracked,) = runs(server.uri)
    assert tracked.info.status == "RUNNING"
    assert read_note(folder).runs == [tracked.info.run_id]
    assert main(["replay", str(folder), "--tracking-uri", server.uri]) == 0
    assert f"its run {tracked.info.run_id}" in capsys.readouterr().out
    assert curve(client, tracked.info.run_id, "pretrain_lafs") == written_curve(data, "pretrain_lafs")
    assert client.get_run(tracked.info.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_that_is_killed_after_its_server_continues_with_every_point(kedro_run, server, data, runs):
    server.start()
    command = ("--pipelines=pretrain", "--params=pretrain.methods=[lafs],pretrain.training.epochs=40")
    run = kedro_run(data, *command, MLFLOW_TRACKING_URI=server.uri)
    metrics = training_of(run, data) / "metrics.jsonl"
    run.wait_for_file(metrics, lambda text: text.count("\n") > 5)
    server.stop()
    run.wait_for("MLflow failed")
    lines = metrics.read_text().count("\n")
    run.wait_for_file(metrics, lambda text: text.count("\n") > lines + 5)
    run.kill()
    server.start()
    again = kedro_run(data, *command, MLFLOW_TRACKING_URI=server.uri)
    assert again.finish() == 0, again.stderr[-3000:]
    (tracked,) = runs(server.uri)
    assert tracked.info.status == "FINISHED"
    found = dict(curve(MlflowClient(server.uri), tracked.info.run_id, "pretrain_lafs"))
    assert found == dict(written_curve(data, "pretrain_lafs"))
