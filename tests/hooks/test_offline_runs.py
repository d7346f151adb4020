"""Runs kept without a server, and how they come to it."""

import http.server
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from lafs_pipeline.pipelines.offline_runs import (
    OFFLINE_RUN,
    PART_OF,
    PROCESS,
    OfflineStore,
    answers,
    bring_runs,
    find_run,
    is_outage,
    send_metrics,
    this_process,
)
from lafs_pipeline.pipelines.spool import Spool

EXPERIMENT = "faces"
POINTS = 2300
"""More than MLflow takes in one call."""


@pytest.fixture
def offline(tmp_path):
    store = OfflineStore(tmp_path / "data")
    store.folder.mkdir()
    MlflowClient(store.uri).create_experiment(EXPERIMENT, store.artifacts.as_uri())
    return store


@pytest.fixture
def server_uri(tmp_path, monkeypatch):
    """A store in the place of a server: the same calls, without HTTP."""
    monkeypatch.chdir(tmp_path)  # where it puts artefacts
    return f"sqlite:///{tmp_path}/server.db"


def begin(client, tags=None):
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return client.create_run(experiment, tags=tags, run_name="pretrain").info.run_id


def fill(client, run_id, folder):
    """Everything that a run of the pipeline has; returns (metric history, params)."""
    params = {f"group.value_{number}": str(number) for number in range(130)}
    client.log_batch(run_id, params=[Param(*item) for item in list(params.items())[:100]])
    client.log_batch(run_id, params=[Param(*item) for item in list(params.items())[100:]])
    history = [Metric("pretrain/loss", 1 / (step + 1), 1000 + step, step) for step in range(POINTS)]
    for start in range(0, POINTS, 1000):
        client.log_batch(run_id, metrics=history[start : start + 1000])
    client.log_batch(run_id, tags=[RunTag("seed", "3")])
    card = MetaDataset(CodeDatasetSource({"sources": "s"}), name="synthetic", digest="abc")
    client.log_inputs(run_id, [DatasetInput(card._to_mlflow_entity())])
    (folder / "table.csv").write_text("a,b\n1,2\n")
    client.log_artifact(run_id, str(folder / "table.csv"))
    client.log_artifact(run_id, str(folder / "table.csv"), "deeper/still")
    return [(metric.step, metric.value, metric.timestamp) for metric in history], params


def points(client, run_id):
    found = client.get_metric_history(run_id, "pretrain/loss")
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)


def runs_of(client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def test_a_copy_has_everything(offline, server_uri, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    run_id = begin(source, {PROCESS: this_process()})
    history, params = fill(source, run_id, tmp_path)
    source.set_terminated(run_id, "FINISHED")
    original = source.get_run(run_id)

    copied = bring_runs(offline, server_uri)
    (copy,) = runs_of(server)
    assert copied == {run_id: copy.info.run_id}
    assert copy.info.status == "FINISHED"
    assert copy.info.run_name == "pretrain"
    assert (copy.info.start_time, copy.info.end_time) == (original.info.start_time, original.info.end_time)
    assert copy.data.params == params
    assert copy.data.tags.pop(OFFLINE_RUN) == run_id
    assert copy.data.tags == {key: value for key, value in original.data.tags.items() if key != PROCESS}
    assert points(server, copy.info.run_id) == history
    assert [item.dataset.digest for item in copy.inputs.dataset_inputs] == ["abc"]
    found = {item.path for item in server.list_artifacts(copy.info.run_id)}
    assert found == {"table.csv", "deeper"}
    file = mlflow.artifacts.download_artifacts(f"{copy.info.artifact_uri}/deeper/still/table.csv")
    assert Path(file).read_text() == "a,b\n1,2\n"
    assert caplog.messages[-1].endswith(": 1")

    assert find_run(source, run_id) is None
    assert not list(offline.artifacts.rglob("table.csv"))
    assert bring_runs(offline, server_uri) == {}
    assert len(runs_of(server)) == 1


def test_a_copy_that_broke_off_is_completed_and_not_doubled(offline, server_uri, tmp_path):
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    run_id = begin(source)
    history, params = fill(source, run_id, tmp_path)
    source.set_terminated(run_id, "KILLED")
    server.create_experiment(EXPERIMENT)
    begun = server.create_run("1", tags={OFFLINE_RUN: run_id})
    server.log_batch(begun.info.run_id, metrics=[Metric("pretrain/loss", *history[0][1:], 0)])
    server.log_batch(begun.info.run_id, params=[Param("group.value_0", "0")])

    assert bring_runs(offline, server_uri) == {run_id: begun.info.run_id}
    (copy,) = runs_of(server)
    assert copy.info.status == "KILLED"
    assert points(server, copy.info.run_id) == history
    assert copy.data.params == params


def test_a_part_is_put_into_the_servers_run(offline, server_uri, tmp_path):
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    server.create_experiment(EXPERIMENT)
    whole = begin(server, {"mlflow.source.git.commit": "new", "seed": "3"})
    server.log_metric(whole, "stage1/loss", 0.5, 7, 1)
    server.log_param(whole, "seed", "3")
    run_id = begin(source, {PART_OF: whole, "mlflow.source.git.commit": "old"})
    history, params = fill(source, run_id, tmp_path)
    source.log_param(run_id, "seed", "3")
    source.set_terminated(run_id, "FINISHED", 99_000)

    assert bring_runs(offline, server_uri) == {run_id: whole}
    (merged,) = runs_of(server)
    assert (merged.info.status, merged.info.end_time) == ("FINISHED", 99_000)
    assert merged.data.params == params | {"seed": "3"}
    assert merged.data.metrics["stage1/loss"] == 0.5
    assert points(server, whole) == history
    assert merged.data.tags["mlflow.source.git.commit"] == "new"
    assert not {PART_OF, PROCESS, OFFLINE_RUN} & merged.data.tags.keys()
    assert "table.csv" in {item.path for item in server.list_artifacts(whole)}


def test_a_part_of_a_deleted_run_becomes_a_run(offline, server_uri):
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    server.create_experiment(EXPERIMENT)
    deleted = begin(server)
    server.delete_run(deleted)
    run_id = begin(source, {PART_OF: deleted})
    source.set_terminated(run_id, "FAILED")
    copied = bring_runs(offline, server_uri)
    (copy,) = runs_of(server)
    assert copied == {run_id: copy.info.run_id}
    assert copy.info.status == "FAILED"


def process_that_has_ended():
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    return f"{this_process().split('/')[0]}/{ended.pid}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether a process has ended")
def test_a_run_that_still_goes_on_is_left_alone(offline, server_uri):
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    going_on = begin(source, {PROCESS: this_process()})
    elsewhere = begin(source, {PROCESS: f"another-host/{os.getpid()}"})
    killed = begin(source, {PROCESS: process_that_has_ended()})
    source.log_metric(killed, "loss", 1.0, 5_000_000_000_000, 1)

    (copied,) = bring_runs(offline, server_uri).items()
    assert copied[0] == killed
    copy = server.get_run(copied[1])
    assert (copy.info.status, copy.info.end_time) == ("KILLED", 5_000_000_000_000)
    assert bring_runs(offline, server_uri, abandoned=elsewhere).keys() == {elsewhere}
    assert [run.info.run_id for run in runs_of(source)] == [going_on]


def test_a_run_that_is_refused_stays_and_the_others_come(offline, server_uri, caplog):
    source, server = MlflowClient(offline.uri), MlflowClient(server_uri)
    server.create_experiment(EXPERIMENT)
    whole = begin(server)
    server.log_param(whole, "seed", "3")
    refused, fine = begin(source, {PART_OF: whole}), begin(source)
    source.log_param(refused, "seed", "4")
    for run_id in (refused, fine):
        source.set_terminated(run_id)
    assert bring_runs(offline, server_uri).keys() == {fine}
    assert [run.info.run_id for run in runs_of(source)] == [refused]
    (warning,) = [entry.message for entry in caplog.records if entry.levelno == logging.WARNING]
    assert refused in warning
    assert str(offline.database) in warning


def test_without_an_offline_store_nothing_is_made(tmp_path):
    store = OfflineStore(tmp_path)
    assert bring_runs(store, f"sqlite:///{tmp_path}/server.db") == {}
    assert list(tmp_path.iterdir()) == []


def test_waiting_metrics_of_ended_runs_are_sent(server_uri, tmp_path):
    server = MlflowClient(server_uri)
    server.create_experiment(EXPERIMENT)
    finished, going_on, abandoned, deleted = (begin(server) for _ in range(4))
    server.set_terminated(finished)
    server.delete_run(deleted)
    spools = {}
    for number, run_id in enumerate((finished, going_on, abandoned, deleted)):
        spools[run_id] = Spool(tmp_path / f"stage{number}" / f"mlflow-{run_id}.jsonl")
        spools[run_id].append({"pretrain/loss": 0.5}, 1_700_000_000_000, 4)
    send_metrics(server_uri, tmp_path, abandoned)
    for run_id in (finished, abandoned):
        assert points(server, run_id) == [(4, 0.5, 1_700_000_000_000)]
        assert not spools[run_id].path.exists()
    for run_id in (going_on, deleted):
        assert points(server, run_id) == []
        assert spools[run_id].path.exists()


@pytest.mark.parametrize("run_id", ["0" * 32, "", "../../secret", "no id"])
def test_what_is_no_run_is_not_found(server_uri, run_id):
    assert find_run(MlflowClient(server_uri), run_id) is None


class Failing(http.server.BaseHTTPRequestHandler):
    """Answers every request with the status that its path ends with, or 200."""

    def do_GET(self):
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"no")

    do_POST = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "is_there", "outage"),
    [
        (200, True, None),
        (401, True, False),
        (404, True, False),
        (429, True, True),
        (500, False, True),
        (503, False, True),
    ],
)
def test_a_server_that_cannot_be_used_now(web, monkeypatch, status, is_there, outage):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    web.status = status
    uri = f"http://127.0.0.1:{web.server_port}"
    assert answers(uri) is is_there
    if outage is not None:
        with pytest.raises(MlflowException) as refused:
            MlflowClient(uri).log_metric("0" * 32, "loss", 1.0)
        assert is_outage(refused.value) is outage


def test_a_server_that_is_not_there(web, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    web.server_close()
    uri = f"http://127.0.0.1:{web.server_port}"
    assert not answers(uri)
    with pytest.raises(MlflowException) as refused:
        MlflowClient(uri).log_metric("0" * 32, "loss", 1.0)
    assert is_outage(refused.value)
    assert not is_outage(ValueError("a bug"))
