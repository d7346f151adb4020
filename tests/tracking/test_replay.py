"""`lafs replay`: what MLflow lacks of a training is brought to it."""

import pytest
import torch
from mlflow.tracking import MlflowClient

from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.runtime.metric_loggers import JsonLinesLogger
from lafs_pipeline.tracking.metric_logger import TrainingNote, read_note
from lafs_pipeline.tracking.replay import complete_run
from lafs_pipeline.training.checkpoints import Checkpoint, write

CONFIGURATION = {"stage": "adapt", "seed": 3, "settings": {"training": {"epochs": 2}, "shots": [1, 2]}}
STEPS = range(1, 2301)
"""More than MLflow takes in one call."""


@pytest.fixture
def folder(tmp_path):
    """A training that was not tracked."""
    folder = tmp_path / "checkpoints/adapt_lafs"
    logger = JsonLinesLogger(folder / "metrics.jsonl")
    for step in STEPS:
        logger.log({"loss": 1 / step}, step, 8 * step)
    logger.log({"knn_accuracy": 0.5}, 2300, 18400)
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2301, "lo')
    write(folder, Checkpoint(2300, {"weight": torch.zeros(1)}, {}, CONFIGURATION))
    return folder


def curve(uri, run_id, name):
    return [(point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, name)]


def test_a_store_that_has_no_run_gets_one_with_configuration_and_tags(folder, database, capsys):
    TrainingNote(
        "adapt_lafs", "http://gone", ["0" * 32], "faces/adapt", "adapt tiny", {"method": "lafs"}
    ).write(folder)
    assert main(["replay", str(folder), "--tracking-uri", database]) == 0
    said = capsys.readouterr().out
    (experiment,) = MlflowClient(database).search_experiments(filter_string="name = 'faces/adapt'")
    (run,) = MlflowClient(database).search_runs([experiment.experiment_id])
    assert f"2301 points sent to a new run {run.info.run_id} at {database}" in said
    assert (run.info.run_name, run.info.status) == ("adapt tiny adapt_lafs", "FINISHED")
    assert run.data.params == {
        "stage": "adapt",
        "seed": "3",
        "settings.training.epochs": "2",
        "settings.shots": "[1, 2]",
    }
    assert run.data.tags["method"] == "lafs"
    assert curve(database, run.info.run_id, "adapt_lafs/loss") == [(8 * step, 1 / step) for step in STEPS]
    assert curve(database, run.info.run_id, "adapt_lafs/knn_accuracy") == [(18400, 0.5)]
    assert read_note(folder).runs == [run.info.run_id, "0" * 32]

    assert len(said.splitlines()) == 1
    assert main(["replay", str(folder), "--tracking-uri", database]) == 0
    assert f"0 points sent to its run {run.info.run_id}" in capsys.readouterr().out


def test_a_run_gets_what_it_lacks_and_the_status_that_it_missed(
    folder, database, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    client = MlflowClient(database)
    run_id = client.create_run("1").info.run_id
    for step in (1, 2, 5):
        client.log_metric(run_id, "adapt_lafs/loss", 1 / step, 1000 + step, 8 * step)
    TrainingNote("adapt_lafs", database, [run_id], has_failed=True, status="FINISHED").write(folder)
    assert main(["replay", str(tmp_path / "checkpoints")]) == 0
    assert "2298 points sent to its run" in capsys.readouterr().out
    assert sorted(curve(database, run_id, "adapt_lafs/loss")) == [(8 * step, 1 / step) for step in STEPS]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert not read_note(folder).has_failed


def test_a_run_that_is_continued_is_completed_first(folder, database, tmp_path):
    client = MlflowClient(database)
    run_id, other = (client.create_run("1").info.run_id for _ in range(2))
    TrainingNote("adapt_lafs", database, [run_id], has_failed=True).write(folder)
    complete_run(client, other, tmp_path)
    assert read_note(folder).has_failed
    complete_run(client, run_id, tmp_path)
    assert len(curve(database, run_id, "adapt_lafs/loss")) == 2300
    assert not read_note(folder).has_failed
    assert curve(database, other, "adapt_lafs/loss") == []


@pytest.mark.parametrize(
    ("note", "arguments", "message"),
    [
        (None, [], "say where to with --tracking-uri"),
        (TrainingNote("adapt_lafs", "nonsense://there"), [], "nonsense"),
        (
            None,
            ["--tracking-uri", "http://me:secret@127.0.0.1:9"],
            "MLflow at http://127.0.0.1:9 does not take",
        ),
    ],
)
def test_a_store_that_does_not_answer_is_named(folder, note, arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    if note is not None:
        note.write(folder)
    assert main(["replay", str(folder), *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "secret" not in said


def test_a_folder_without_metrics_is_refused(tmp_path, capsys):
    assert main(["replay", str(tmp_path)]) == 1
    assert f"{tmp_path} has no metrics.jsonl" in capsys.readouterr().err
