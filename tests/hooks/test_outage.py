"""`kedro run` with an MLflow server that is down at the start, or dies in the middle."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from lafs_pipeline.hooks.continuity import RunRecord

pytestmark = pytest.mark.slow
PICTURES = {"stage1~landmarks", "pretrain~views", "adapt_lafs~landmarks", "adapt_scratch~landmarks"}


def curve(client, run_id, stage):
    history = client.get_metric_history(run_id, f"{stage}/loss")
    return sorted((metric.step, metric.value) for metric in history)


def written_curve(data, stage):
    (path,) = (data / f"06_models/checkpoints/{stage}").glob("*/metrics.jsonl")
    lines = path.read_text().splitlines()
    return [(row["images_seen"], row["loss"]) for row in map(json.loads, lines) if "loss" in row]


def artifacts(client, run_id):
    return {item.path for item in client.list_artifacts(run_id)}


def test_a_server_that_is_down_at_the_start(kedro_run, server, data, runs):
    """Two runs are tracked offline, the second with the run that the first did not finish; then all come."""
    command = ("--pipelines=cataloging,pretrain", "--params=pretrain.training.max_minutes=0.0001")
    offline = f"sqlite:///{data}/offline_mlflow.db"
    for steps_done in (1, 2):
        stopped = kedro_run(data, *command, MLFLOW_TRACKING_URI=server.uri)
        assert stopped.finish() == 75, stopped.stderr[-3000:]
        assert f"{server.uri} cannot be used" in stopped.stdout
        assert str(data / "offline_mlflow.db") in stopped.stdout
        (run,) = runs(offline)
        assert run.info.status == "KILLED"
        assert curve(MlflowClient(offline), run.info.run_id, "pretrain") == written_curve(data, "pretrain")
        assert len(written_curve(data, "pretrain")) == steps_done

    server.start()
    same = kedro_run(data, *command, MLFLOW_TRACKING_URI=server.uri)
    assert same.finish() == 75, same.stderr[-3000:]
    assert f"offline runs brought to the MLflow server {server.uri}: 1" in same.stdout
    assert runs(offline) == []
    client = MlflowClient(server.uri)
    (brought,) = runs(server.uri)
    run_id = brought.info.run_id
    assert brought.data.tags["lafs.offline_run_id"] == run.info.run_id
    assert "lafs.process" not in brought.data.tags
    assert brought.data.params == run.data.params
    assert len(brought.inputs.dataset_inputs) == 1
    assert "dataset_card.json" in artifacts(client, run_id)
    assert curve(client, run_id, "pretrain") == written_curve(data, "pretrain")
    assert len(written_curve(data, "pretrain")) == 3
    assert not (data / "offline_mlflow_artifacts" / run.info.run_id).exists()

    last = kedro_run(data, *command, MLFLOW_TRACKING_URI=server.uri)
    assert last.finish() == 0, last.stderr[-3000:]
    assert "brought to" not in last.stdout
    (finished,) = runs(server.uri)
    assert (finished.info.run_id, finished.info.status) == (run_id, "FINISHED")


@pytest.fixture
def dying(kedro_run, server, tmp_path):
    """A whole run whose server has died in stage 1, and which has noticed."""
    data = tmp_path / "data"
    server.start()
    run = kedro_run(data, MLFLOW_TRACKING_URI=server.uri)
    run.wait_for("Running node: train_stage1")
    server.stop()
    run.wait_for(f"{server.uri} cannot be used")
    return data, run


def require_whole(server, data, run_id):
    """That a run on the server has everything that a run with a server has."""
    client = MlflowClient(server.uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["adapt.recognition.training.epochs"] == "2"
    assert run.data.params["landmarks.recognition.training.epochs"] == "2"
    assert run.data.tags["seed"] == "0"
    assert not {"lafs.part_of", "lafs.process"} & run.data.tags.keys()
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"synthetic", "held_out"}
    assert any(name.startswith("held_out/") for name in run.data.metrics)
    for stage in ("stage1", "pretrain", "adapt_lafs", "adapt_scratch"):
        assert curve(client, run_id, stage) == written_curve(data, stage)
    models = {path.name for path in (data / "06_models").glob("*.safetensors")}
    reports = {path.name for path in (data / "08_reporting").iterdir()}
    assert len(models) == 5
    assert artifacts(client, run_id) == models | reports | {"images"}
    images = [item.path for item in client.list_artifacts(run_id, "images")]
    assert {Path(path).name.split("+")[0] for path in images} == PICTURES
    assert run.data.tags["mlflow.loggedImages"] == "True"
    (version,) = client.search_model_versions("name = 'lafs_face_model'")
    assert version.run_id == run_id
    weights = client.download_artifacts(run_id, "face_model_lafs.safetensors")
    # Not by `models:/<name>`, which MLflow looks up where this process tracks.
    location = client.get_logged_model(version.source.removeprefix("models:/")).artifact_location
    model = mlflow.artifacts.download_artifacts(location, tracking_uri=server.uri)
    (served,) = Path(model).rglob("*.safetensors")
    assert served.read_bytes() == Path(weights).read_bytes()


def test_a_server_that_dies_and_comes_back_within_the_run(dying, server, runs):
    data, run = dying
    server.start()
    assert run.finish() == 0, run.stderr[-3000:]
    (tracked,) = runs(server.uri)
    require_whole(server, data, tracked.info.run_id)
    assert runs(f"sqlite:///{data}/offline_mlflow.db") == []
    assert list(data.rglob("mlflow*-*.jsonl")) == []


def test_a_server_that_comes_back_before_the_next_run(dying, server, kedro_run, runs):
    data, run = dying
    assert run.finish() == 0, run.stderr[-3000:]
    assert len(list((data / "06_models").glob("*.safetensors"))) == 5
    assert RunRecord(data / "06_models/checkpoints").read() is None
    (part,) = runs(f"sqlite:///{data}/offline_mlflow.db")
    assert part.info.status == "FINISHED"
    copy = shutil.copytree(data, data.with_name("copy"))

    server.start()
    (tracked,) = runs(server.uri)
    assert part.data.tags["lafs.part_of"] == tracked.info.run_id
    assert tracked.info.status == "RUNNING"
    following = kedro_run(data, "--pipelines=cataloging", MLFLOW_TRACKING_URI=server.uri)
    assert following.finish() == 0, following.stderr[-3000:]
    require_whole(server, copy, tracked.info.run_id)
    assert [run.info.status for run in runs(server.uri)] == ["FINISHED", "FINISHED"]
    assert runs(f"sqlite:///{data}/offline_mlflow.db") == []
    assert list(data.rglob("mlflow*-*.jsonl")) == []


def test_a_run_that_is_killed_after_its_server(dying, server, kedro_run, runs):
    data, run = dying
    run.wait_for("Running node: pretrain_backbone")
    run.kill()
    record = RunRecord(data / "06_models/checkpoints").read()
    server.start()
    (tracked,) = runs(server.uri)
    assert record.run_id == tracked.info.run_id
    again = kedro_run(data, MLFLOW_TRACKING_URI=server.uri)
    assert again.finish() == 0, again.stderr[-3000:]
    (finished,) = runs(server.uri)
    assert (finished.info.run_id, finished.info.status) == (tracked.info.run_id, "FINISHED")
    stage1 = curve(MlflowClient(server.uri), record.run_id, "stage1")
    assert {images for images, _ in stage1} == {32 * step for step in range(1, 9)}
