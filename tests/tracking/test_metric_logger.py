"""Metrics of a training on their way to MLflow, whatever MLflow does."""

import json
import logging
import math
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from PIL import Image
from tests.training.test_loop import SETTINGS, Points, Regression, run, weights
from tests.waiting import until

from lafs_pipeline.runtime.metric_loggers import JsonLinesLogger, read_metrics
from lafs_pipeline.tracking.metric_logger import MlflowLogger, active_loggers, read_note
from lafs_pipeline.tracking.replay import replay
from lafs_pipeline.tracking.tracker import RunFacts, tracker
from lafs_pipeline.training.loop import Trainer

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print(flush=True)
sys.stdin.read()
"""
FULL = """
CREATE TRIGGER full BEFORE INSERT ON metrics BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END
"""


def new_run(uri):
    return MlflowClient(uri).create_run("0").info.run_id


def history(uri, run_id, name):
    """Every (images seen, value) of a metric, as stored."""
    return sorted((point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, name))


def written(folder, name):
    """The same of `metrics.jsonl`."""
    return [
        (line["images_seen"], line[name]) for line in read_metrics(folder / "metrics.jsonl") if name in line
    ]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Eventful(Regression):
    """A training in the middle of which something happens."""

    def __init__(self, event):
        super().__init__()
        self.event = event

    def after_update(self, progress):
        if progress.step == 6:
            self.event()


def train(folder, *loggers, event=lambda: None):
    return weights(Trainer(Eventful(event), Points(), SETTINGS, run(folder, loggers=loggers)).train())


def test_a_training_is_in_mlflow_as_it_is_in_its_file(server, tmp_path):
    run_id = new_run(server.uri)
    facts = RunFacts("lafs_pipeline", "pretrain", {"method": "lafs"})
    sent = pickle.loads(pickle.dumps(MlflowLogger(server.uri, run_id, "pretrain", facts)))
    train(tmp_path, sent)
    for name in ("loss", "learning_rate", "knn_accuracy"):
        assert history(server.database, run_id, f"pretrain/{name}") == written(tmp_path, name)
    note = read_note(tmp_path)
    assert (note.prefix, note.runs, note.tags) == ("pretrain", [run_id], {"method": "lafs"})
    assert not note.has_failed


def test_a_server_that_dies_and_never_comes_back_costs_one_warning(server, tmp_path, caplog):
    run_id = new_run(server.uri)
    address = server.uri.replace("//", "//somebody:secret@")

    def die():
        until(lambda: history(server.database, run_id, "pretrain/knn_accuracy"))  # the probe before training
        server.stop()

    trained = train(tmp_path / "a", MlflowLogger(address, run_id, "pretrain"), event=die)
    assert torch.equal(trained, train(tmp_path / "b"))
    assert [step for step, _ in written(tmp_path / "a", "loss")] == [8 * step for step in range(1, 17)]
    (warning,) = warnings(caplog)
    assert "the metrics of pretrain" in warning
    assert f"lafs replay {tmp_path}/a" in warning
    assert not tracker.is_on
    assert not any("secret" in text for text in (warning, (tmp_path / "a/mlflow.json").read_text()))

    later = MlflowLogger(address, run_id, "adapt")
    later.open(tmp_path)
    later.log({"loss": 1.0}, 1, 8)
    later.log_image("views", np.zeros((4, 4, 3), np.uint8), 8)
    later.close()
    assert len(warnings(caplog)) == 1

    server.start()
    assert history(server.database, run_id, "pretrain/knn_accuracy")
    assert len(history(server.database, run_id, "pretrain/loss")) < 16
    (first,) = replay(tmp_path / "a", server.uri)
    (second,) = replay(tmp_path / "a", server.uri)
    assert history(server.database, run_id, "pretrain/loss") == written(tmp_path / "a", "loss")
    assert history(server.database, run_id, "pretrain/knn_accuracy") == written(
        tmp_path / "a", "knn_accuracy"
    )
    assert (first.run_id, first.is_new, second.sent) == (run_id, False, 0)
    assert second.present == first.sent + first.present


@pytest.mark.slow
def test_a_database_that_another_process_locks(database, tmp_path, caplog):
    run_id = new_run(database)
    locking = []

    def lock():
        command = [sys.executable, "-c", LOCK, database.removeprefix("sqlite:///")]
        locking.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        locking[0].stdout.readline()

    trained = train(tmp_path / "a", MlflowLogger(database, run_id, "pretrain"), event=lock)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(database.removeprefix("sqlite:///"), timeout=0).execute("BEGIN IMMEDIATE")
    locking[0].communicate()
    assert torch.equal(trained, train(tmp_path / "b"))
    (warning,) = warnings(caplog)
    assert "database is locked" in warning
    (replayed,) = replay(tmp_path / "a")
    assert replayed.sent > 0
    assert history(database, run_id, "pretrain/loss") == written(tmp_path / "a", "loss")


def test_a_store_that_refuses(database, tmp_path, caplog):
    run_id = new_run(database)
    MlflowClient(database).delete_run(run_id)
    train(tmp_path, MlflowLogger(database, run_id, "pretrain"))
    assert len(written(tmp_path, "loss")) == 16
    (warning,) = warnings(caplog)
    assert "the metrics of pretrain" in warning
    assert read_note(tmp_path).has_failed


def test_a_full_disk_under_the_database(database, tmp_path, caplog):
    """As SQLite puts it."""
    run_id = new_run(database)
    path = database.removeprefix("sqlite:///")
    store = MlflowClient(database)
    with sqlite3.connect(path) as connection:
        connection.execute(FULL)
    train(tmp_path / "a", MlflowLogger(database, run_id, "pretrain"))
    (warning,) = warnings(caplog)
    assert "disk is full" in warning
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER full")
    list(replay(tmp_path / "a"))
    assert store.get_run(run_id).data.metrics["pretrain/epoch"] == written(tmp_path / "a", "epoch")[-1][1]


def test_numbers_that_are_not_finite_and_more_than_one_call_takes(database, tmp_path):
    run_id = new_run(database)
    values = {f"value_{index}": index / 7 for index in range(2300)}
    values |= {"nan": math.nan, "inf": math.inf, "odd (name)": 1.0}
    sent = MlflowLogger(database, run_id, "stage")
    sent.open(tmp_path)
    sent.log(values, 10, 10)
    sent.close()
    stored = MlflowClient(database).get_run(run_id).data.metrics
    assert all(stored[f"stage/value_{index}"] == index / 7 for index in range(2300))
    assert math.isnan(stored["stage/nan"])
    assert stored["stage/inf"] > 1e308
    assert stored["stage/odd _name_"] == 1.0


def test_pictures_arrive_as_they_were(active, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    (sent,) = active_loggers("stage1")
    sent.open(tmp_path)
    sent.log_image("landmarks", picture, 32)
    sent.close()
    client = MlflowClient()
    assert client.get_run(active.info.run_id).data.tags["mlflow.loggedImages"] == "True"
    paths = [item.path for item in client.list_artifacts(active.info.run_id, "images")]
    (png,) = [path for path in paths if path.endswith(".png")]
    assert Path(png).name.startswith("stage1~landmarks+step+32+")
    stored = Image.open(client.download_artifacts(active.info.run_id, png))
    np.testing.assert_array_equal(picture, np.asarray(stored))


def test_there_is_a_logger_where_a_run_is_active(database, tmp_path):
    assert active_loggers("stage") == []
    mlflow.set_tracking_uri(database)
    with mlflow.start_run(tags={"method": "lafs"}) as run:
        (sent,) = active_loggers("stage")
        assert (sent.tracking_uri, sent.run_id) == (database, run.info.run_id)
        assert sent.facts.tags == {"method": "lafs"}
    tracker.begin(is_on=False)
    with mlflow.start_run():
        assert active_loggers("stage") == []


def test_a_training_without_a_run_knows_what_its_run_would_have_been(tmp_path):
    tracker.begin(is_on=True, tracking_uri="http://somebody:secret@there", checkpoints=tmp_path)
    tracker.facts = RunFacts("faces", "adapt", {"method": "lafs"})
    tracker.stop("the start of the run", ConnectionError("refused"))
    (silent,) = active_loggers("adapt_lafs")
    silent.open(tmp_path)
    silent.log({"loss": 1.0}, 1, 8)
    silent.close()
    tracker.run_id = "a" * 32
    (silent,) = active_loggers("adapt_scratch")
    silent.open(tmp_path / "of a run")
    assert read_note(tmp_path / "of a run").runs == ["a" * 32]
    note = read_note(tmp_path)
    assert (note.runs, note.experiment, note.run_name) == ([], "faces", "adapt")
    assert (note.tags, note.tracking_uri, note.has_failed) == ({"method": "lafs"}, "http://there", True)


def test_a_resumed_training_keeps_the_runs_before_and_a_new_one_does_not(database, tmp_path):
    for resume_step, expected in ((None, ["b"]), (3, ["b", "a"])):
        JsonLinesLogger(tmp_path / "metrics.jsonl").log({"loss": 1.0}, 3, 24)
        MlflowLogger(database, "a", "stage").open(tmp_path)
        JsonLinesLogger(tmp_path / "metrics.jsonl", resume_step)
        MlflowLogger(database, "b", "stage").open(tmp_path)
        assert read_note(tmp_path).runs == expected


@pytest.mark.parametrize("content", ["", "[]", '{"prefix": 1, "unknown": 2}', json.dumps("text")])
def test_a_damaged_note_is_none(tmp_path, content):
    (tmp_path / "mlflow.json").write_text(content)
    assert read_note(tmp_path) is None
