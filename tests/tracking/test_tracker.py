"""What is left of MLflow after a failure, and names that it takes."""

import re
import shutil
import sqlite3
from contextlib import closing

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from lafs_pipeline.tracking.child_runs import child_run
from lafs_pipeline.tracking.metric_logger import active_loggers
from lafs_pipeline.tracking.tracker import NOWHERE, clean_name, tracker


@given(st.text(max_size=300))
def test_every_name_is_cleaned_to_one_that_mlflow_takes(name):
    _validate_metric_name(clean_name(name))
    _validate_param_name(clean_name(name))
    assert 0 < len(clean_name(name)) <= 250


@pytest.mark.parametrize("name", ["accuracy/lfw/lafs", "tar_at_far_0.1/cfp fp/a-b", "stage1/loss"])
def test_a_name_that_mlflow_takes_stays(name):
    assert clean_name(name) == name


def test_after_a_failure_nothing_is_sent_and_the_process_is_left_as_it_was(active, database, caplog):
    calls = []
    assert tracker.attempt("a value", lambda: 7) == 7
    assert tracker.attempt("a value", lambda: 1 / 0) is None
    assert tracker.attempt("another", lambda: calls.append(1)) is None
    assert calls == []
    assert [record.message for record in caplog.records if "MLflow failed" in record.message] == [
        caplog.messages[-1]
    ]
    assert (mlflow.active_run(), mlflow.get_tracking_uri()) == (None, NOWHERE)
    tracker.end()
    assert mlflow.get_tracking_uri() == database
    assert MlflowClient().get_run(active.info.run_id).info.status == "RUNNING"


def other_schema(folder, database):
    """The address of a database whose tables another version of MLflow has made."""
    path = shutil.copy(database.removeprefix("sqlite:///"), folder / "other.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    return f"sqlite:///{path}"


def runs_in_a_folder(folder, database):
    return (folder / "mlruns").as_uri()


@pytest.mark.parametrize(
    ("store", "what_to_do"),
    [
        (other_schema, r"another version of MLflow.*copy it, then run mlflow db upgrade {uri}.*newer"),
        (
            runs_in_a_folder,
            r"{uri} is a folder.*MLFLOW_TRACKING_URI=sqlite:///FILE; mlflow migrate-filestore",
        ),
    ],
)
def test_a_store_that_this_mlflow_does_not_take_is_one_message(
    tmp_path, database, caplog, monkeypatch, store, what_to_do
):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    uri = store(tmp_path, database)
    tracker.begin(is_on=True, tracking_uri=uri)
    tracker.attempt("the start of the run", lambda: MlflowClient(uri).search_experiments(max_results=1))
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.search(what_to_do.format(uri=re.escape(uri)), said)


def test_a_run_that_was_open_before_stays_open(active):
    tracker.begin(is_on=True)
    tracker.stop("a value", ValueError("refused"))
    assert mlflow.active_run().info.run_id == active.info.run_id
    tracker.end()


def test_a_child_run_is_continued_until_it_has_finished(active, tmp_path):
    def names():
        runs = MlflowClient().search_runs([active.info.experiment_id])
        return {run.info.run_id: run.info.status for run in runs if run.info.run_name == "child"}

    with pytest.raises(ValueError, match="broken"), child_run("child", {"shots": 1}, tmp_path):
        raise ValueError("broken off")
    assert list(names().values()) == ["FAILED"]
    with child_run("child", {"shots": 1}, tmp_path) as log:
        log({"accuracy/lfw(aligned)": 0.5})
    ((run_id, status),) = names().items()
    run = MlflowClient().get_run(run_id)
    assert (status, run.data.metrics) == ("FINISHED", {"accuracy/lfw_aligned_": 0.5})
    assert run.data.tags["mlflow.parentRunId"] == active.info.run_id
    assert mlflow.active_run().info.run_id == active.info.run_id
    with child_run("child", {"shots": 1}, tmp_path):
        pass
    assert len(names()) == 2


def test_a_child_run_goes_through_without_mlflow(active, tmp_path, caplog):
    with child_run("child", {"shots": 1}, tmp_path) as log:
        tracker.stop("the metrics", ConnectionError("refused"))
        log({"accuracy": 0.5})
    tracker.run_id = active.info.run_id
    with child_run("another", {}, tmp_path) as log:
        log({"accuracy": 0.5})
        (silent,) = active_loggers("adapt")
        assert (silent.run_id, silent.facts.run_name) == (None, "another")
    assert tracker.run_id == active.info.run_id
    assert sum("MLflow failed" in message for message in caplog.messages) == 1
