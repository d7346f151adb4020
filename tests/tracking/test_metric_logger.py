import logging
import math
import pickle
from pathlib import Path

import mlflow
import numpy as np
import pytest
from lafs_pipeline.pipelines.tracking import MlflowSink, active_sinks
from mlflow.tracking import MlflowClient
from PIL import Image
from tests.servers import MlflowServer
from tests.waiting import until

from lafs_pipeline.pipelines import tracking

IMAGES = 32
"""Of a step."""


def new_run(database):
    return MlflowClient(database).create_run("0").info.run_id


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    new_run(server.database)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(tracking, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(tracking, "LONGEST_WAIT", 0.2)


def history(database, run_id, name):
    """Every (images seen, value) of a metric, as stored."""
    stored = MlflowClient(database).get_metric_history(run_id, name)
    return sorted((metric.step, metric.value) for metric in stored)


def log(sink, steps):
    for step in steps:
        sink.log({"loss": 1 / step, "epoch": step / 4}, step, IMAGES * step)


def expected(steps):
    return [(IMAGES * step, 1 / step) for step in steps]


def spools(folder):
    return sorted(folder.glob("mlflow*-*.jsonl"))


def messages(caplog, level):
    own = (entry for entry in caplog.records if entry.name == tracking.__name__)
    return [entry.message for entry in own if entry.levelno == level]


def test_a_server_that_goes_down_and_comes_back_has_every_metric_once(server, tmp_path, impatient, caplog):
    caplog.set_level(logging.INFO)
    run_id = new_run(server.database)
    server.start()
    sink = pickle.loads(pickle.dumps(MlflowSink(server.uri, run_id, "pretrain", tmp_path)))
    log(sink, range(1, 4))
    until(lambda: history(server.database, run_id, "pretrain/loss") == expected(range(1, 4)))
    server.stop()
    log(sink, range(4, 7))
    until(lambda: messages(caplog, logging.WARNING))
    log(sink, range(7, 9))
    assert [path.name for path in spools(tmp_path)] == [f"mlflow-{run_id}.jsonl"]
    server.start()
    until(lambda: history(server.database, run_id, "pretrain/loss") == expected(range(1, 9)))
    log(sink, range(9, 11))
    sink.close()
    assert history(server.database, run_id, "pretrain/loss") == expected(range(1, 11))
    assert history(server.database, run_id, "pretrain/epoch") == [
        (IMAGES * step, step / 4) for step in range(1, 11)
    ]
    stored = MlflowClient(server.uri).get_metric_history(run_id, "pretrain/loss")
    by_time = sorted(stored, key=lambda metric: (metric.timestamp, metric.step))
    assert [metric.step for metric in by_time] == [IMAGES * step for step in range(1, 11)]
    assert spools(tmp_path) == []
    (down,), (back,) = messages(caplog, logging.WARNING), messages(caplog, logging.INFO)
    assert "does not take metrics" in down
    assert str(tmp_path / f"mlflow-{run_id}.jsonl") in down
    assert "again" in back


def test_what_a_dead_server_did_not_take_is_sent_by_the_next_run(server, tmp_path, impatient, caplog):
    first, second, deleted = (new_run(server.database) for _ in range(3))
    MlflowClient(server.database).delete_run(deleted)
    server.stop()
    for run_id in (deleted, first):
        sink = MlflowSink(server.uri, run_id, "adapt", tmp_path)
        log(sink, range(1, 6))
        sink.close()
    *_, left = messages(caplog, logging.WARNING)
    assert f"mlflow-{first}.jsonl" in left
    assert "started again" in left
    with spools(tmp_path)[0].open("a") as unfinished:
        unfinished.write('\n[17000000000, 6, {"adapt/lo')
    server.start()
    caplog.clear()
    sink = MlflowSink(server.uri, second, "adapt", tmp_path)
    log(sink, range(6, 8))
    sink.close()
    assert history(server.database, first, "adapt/loss") == expected(range(1, 6))
    assert history(server.database, second, "adapt/loss") == expected(range(6, 8))
    assert spools(tmp_path) == [tmp_path / f"mlflow-{deleted}.jsonl"]
    refused, left = messages(caplog, logging.WARNING)
    for text in (refused, left):
        assert f"mlflow-{deleted}.jsonl" in text


@pytest.mark.slow
def test_pictures_wait_for_a_server_that_is_down_and_arrive_as_they_were(server, tmp_path, impatient, caplog):
    run_id = new_run(server.database)
    pictures = [np.random.default_rng(step).integers(0, 256, (40, 60, 3), np.uint8) for step in range(3)]
    server.stop()
    sink = MlflowSink(server.uri, run_id, "stage1", tmp_path)
    sink.log_image("landmarks", pictures[0], 0)
    sink.close()
    assert any("all pictures" in message for message in messages(caplog, logging.WARNING))
    assert [path.name for path in spools(tmp_path)] == [f"mlflow_pictures-{run_id}.jsonl"]
    server.start()
    again = MlflowSink(server.uri, run_id, "stage1", tmp_path)
    for step in (1, 2):
        again.log_image("landmarks", pictures[step], IMAGES * step)
        log(again, [step])
    again.close()
    assert spools(tmp_path) == []
    assert history(server.database, run_id, "stage1/loss") == expected([1, 2])
    client = MlflowClient(server.uri)
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
    found = {}
    for item in client.list_artifacts(run_id, "images"):
        name, _, step, *_ = Path(item.path).stem.split("+")
        if item.path.endswith(".png"):
            found[int(step)] = Image.open(client.download_artifacts(run_id, item.path))
            assert name == "stage1~landmarks"
    assert sorted(found) == [0, IMAGES, 2 * IMAGES]
    for picture, (_, arrived) in zip(pictures, sorted(found.items()), strict=True):
        np.testing.assert_array_equal(picture, np.asarray(arrived))


def test_an_artefact_store_that_takes_nothing_keeps_no_metric_waiting(tmp_path, impatient, caplog):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "store").write_text("a file in the way")
    client = MlflowClient(database)
    experiment = client.create_experiment("full", f"file://{tmp_path}/store")
    run_id = client.create_run(experiment).info.run_id
    sink = MlflowSink(database, run_id, "stage1", tmp_path / "run")
    sink.log_image("landmarks", np.zeros((4, 4, 3), np.uint8), 0)
    until(lambda: messages(caplog, logging.WARNING))
    log(sink, [1, 2, 3])
    sink.close()
    assert history(database, run_id, "stage1/loss") == expected([1, 2, 3])
    assert [path.name for path in spools(tmp_path / "run")] == [f"mlflow_pictures-{run_id}.jsonl"]


def test_over_http_as_to_the_database(server, tmp_path):
    server.start()
    values = {f"value_{index}": index / 7 for index in range(2300)}
    values |= {"nan": math.nan, "inf": math.inf, "minus": -math.inf}
    stored = []
    for uri in (server.uri, server.database):
        run_id = new_run(server.database)
        sink = MlflowSink(uri, run_id, "stage", tmp_path)
        sink.log(values, 10, 10)
        sink.close()
        stored.append(MlflowClient(server.database).get_run(run_id).data.metrics)
    for metrics in stored:
        assert metrics.keys() == {f"stage/{name}" for name in values}
        assert math.isnan(metrics["stage/nan"])
        assert metrics["stage/inf"] == -metrics["stage/minus"] > 1e308
        assert all(metrics[f"stage/value_{index}"] == index / 7 for index in range(2300))


def test_values_sent_twice_are_stored_once(tmp_path):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = new_run(database)
    sink = MlflowSink(database, run_id, "stage", tmp_path)
    sink.folder.joinpath(f"mlflow-{run_id}.jsonl").write_text('\n[1700000000000, 1, {"stage/loss": 0.5}]' * 2)
    sink.log({"loss": 0.25}, 2, 2)
    sink.close()
    assert history(database, run_id, "stage/loss") == [(1, 0.5), (2, 0.25)]


def test_closing_without_metrics_sends_what_was_left(tmp_path):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    first, second = new_run(database), new_run(database)
    (tmp_path / f"mlflow-{first}.jsonl").write_text('\n[1700000000000, 1, {"stage/loss": 0.5}]')
    MlflowSink(database, second, "stage", tmp_path).close()
    assert history(database, first, "stage/loss") == [(1, 0.5)]
    assert spools(tmp_path) == []


def test_the_active_run_gets_the_metrics(tmp_path, monkeypatch):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", database)
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    assert active_sinks("stage", tmp_path / "run") == []
    with mlflow.start_run() as run:
        (sink,) = active_sinks("stage", tmp_path / "run")
        log(sink, [1, 2])
        sink.close()
    assert history(database, run.info.run_id, "stage/loss") == expected([1, 2])
