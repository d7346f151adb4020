"""Which MLflow run a command belongs to."""

import json
import logging
import os
import re
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from lafs_pipeline.hooks import STOPPED_STATUS
from lafs_pipeline.pipeline_registry import register_pipelines
from lafs_pipeline.runtime.metric_loggers import read_metrics
from lafs_pipeline.tracking.continuity import RunRecord, UnfinishedRun, command_digest, trained_nothing

RUN_PARAMS = {
    "pipeline_names": ["pretrain"],
    "tags": (),
    "env": "smoke",
    "run_id": "2026",
    "runner": "x",
}
PARAMETERS = {"seed": 0, "pretrain": {"training": {"epochs": 3}}}
COMMAND = ("http://here", "lafs", RUN_PARAMS, PARAMETERS)
SAME = UnfinishedRun("0" * 32, "f" * 64)


def test_a_command_is_known_again_in_another_session():
    reordered = {"pretrain": {"training": {"epochs": 3}}, "seed": 0}
    later = dict(reversed(RUN_PARAMS.items())) | {"run_id": "2027", "tags": None, "runner": "y"}
    assert command_digest("http://here", "lafs", later, reordered) == command_digest(*COMMAND)


@pytest.mark.parametrize(
    "other",
    [
        ("http://there", "lafs", RUN_PARAMS, PARAMETERS),
        ("http://here", "other", RUN_PARAMS, PARAMETERS),
        ("http://here", "lafs", RUN_PARAMS | {"env": None}, PARAMETERS),
        ("http://here", "lafs", RUN_PARAMS | {"pipeline_names": None}, PARAMETERS),
        ("http://here", "lafs", RUN_PARAMS | {"from_nodes": ["view_montage"]}, PARAMETERS),
        ("http://here", "lafs", RUN_PARAMS, PARAMETERS | {"seed": 1}),
        ("http://here", "lafs", RUN_PARAMS, {"seed": 0, "pretrain": {"training": {"epochs": 4}}}),
    ],
)
def test_another_command_has_another_digest(other):
    assert command_digest(*other) != command_digest(*COMMAND)


WEIGHTS = {"landmarks": {"method": "weights"}}


@pytest.mark.parametrize(
    ("metrics", "nodes", "parameters", "nothing"),
    [
        (["system/cpu"], {"pretrain.pretrain_backbones", "pretrain.view_montage"}, {}, True),
        (["system/cpu", "pretrain_lafs/loss"], {"pretrain.pretrain_backbones"}, {}, False),
        ([], {"pretrain.view_montage"}, {}, False),
        ([], {"landmarks.train_landmarks"}, {}, True),
        ([], {"landmarks.train_landmarks"}, WEIGHTS, False),
        ([], {"landmarks.train_landmarks", "adapt.adapt_models"}, WEIGHTS, True),
    ],
)
def test_a_run_without_a_value_has_trained_nothing(metrics, nodes, parameters, nothing):
    assert trained_nothing(metrics, nodes, parameters) is nothing
    assert nodes <= {node.name for node in register_pipelines()["__default__"].nodes}


def test_a_record_is_read_as_it_was_written(tmp_path, caplog):
    record = RunRecord(tmp_path / "checkpoints")
    assert record.read() is None
    record.write(SAME)
    assert RunRecord(tmp_path / "checkpoints").read() == SAME
    record.remove()
    record.remove()
    assert record.read() is None
    assert caplog.records == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["run_id", "digest", "x"]), inner, max_size=3)
            ),
            max_leaves=5,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_damaged_record_stops_nothing(tmp_path, caplog, content):
    record = RunRecord(tmp_path)
    record.path.write_bytes(content)
    caplog.clear()
    found = record.read()
    if found is None:
        assert "mlflow_run.json" in caplog.text
        assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    else:
        values = json.loads(content)
        assert found == UnfinishedRun(values["run_id"], values["digest"])
        assert {type(found.run_id), type(found.digest)} == {str}


def test_a_record_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "checkpoints").write_text("a file in the way")
    RunRecord(tmp_path / "checkpoints").write(SAME)
    assert "cannot be written" in caplog.text


def steps(client, run_id):
    """The optimizer steps of 32 images that are logged."""
    return {metric.step // 32 for metric in client.get_metric_history(run_id, "pretrain_lafs/loss")}


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_the_same_run(kedro_run, data, runs):
    database = f"sqlite:///{data}/mlflow.db"
    client = MlflowClient(database)
    record = RunRecord(data / "06_models/checkpoints")
    only = "--params=pretrain.methods=[lafs]"
    limited = ("--pipelines=pretrain", f"{only},pretrain.training.max_minutes=0.0001")
    before = runs(database)
    for steps_done in (1, 2):
        stopped = kedro_run(data, *limited)
        assert stopped.finish() == STOPPED_STATUS
        reason = f"pretrain_lafs stopped at step {steps_done} of 4 (training.max_minutes of 0.0001)"
        assert reason in stopped.stderr.splitlines()[-1]
        assert "Traceback" not in stopped.stdout + stopped.stderr
        assert stopped.stdout.count("stopped at step") == 0
        assert "ERROR" not in stopped.stdout
        assert "--from-nodes" not in stopped.stdout
        (run,) = runs(database)[len(before) :]
        assert run.info.status == "KILLED"
        assert record.read().run_id == run.info.run_id
        assert steps(client, run.info.run_id) == set(range(1, steps_done + 1))

    refused = kedro_run(data, "--pipelines=pretrain", f"{only},pretrain.prototypes=32")
    assert refused.finish() == 1
    assert "set pretrain.training.resume to never" in " ".join(refused.stderr.split())
    (run,) = runs(database)[len(before) :]
    assert record.read().run_id == run.info.run_id

    finishing = kedro_run(data, "--pipelines=pretrain", only)
    assert finishing.finish() == 0, finishing.stderr[-3000:]
    stopped_run, finished_run = runs(database)[len(before) :]
    assert stopped_run.info.status == "KILLED"
    assert finished_run.info.status == "FINISHED"
    assert finished_run.data.tags["lafs.continues"] == stopped_run.info.run_id
    assert steps(client, finished_run.info.run_id) == {3, 4}
    assert record.read() is None

    record.path.write_text('{"run_id": ')
    again = kedro_run(data, "--pipelines=pretrain", only)
    assert again.finish() == 0, again.stderr[-3000:]
    assert "mlflow_run.json cannot be read" in again.stdout
    assert "no MLflow run of this command is kept" in again.stdout
    assert [run.info.run_id for run in runs(database)[len(before) :]] == [
        stopped_run.info.run_id,
        finished_run.info.run_id,
    ]
    assert record.read() is None

    nothing = kedro_run(data, "--pipelines=pretrain", only, "--only-missing-outputs")
    assert nothing.finish() == 0, nothing.stderr[-3000:]
    assert len(runs(database)) == len(before) + 2


@pytest.mark.slow
def test_two_ranks_that_are_killed_and_terminated_finish_as_the_same_run(kedro_run, data, runs):
    database = f"sqlite:///{data}/mlflow.db"
    client = MlflowClient(database)
    before = runs(database)
    settings = (
        "pretrain.methods=[lafs],pretrain.training.epochs=15,pretrain.training.probe_every=1000,"
        "launch.processes=2"
    )
    command = ("--pipelines=pretrain", f"--params={settings}")
    parent = data / "06_models/checkpoints/pretrain_lafs"

    def written():
        """The last step in the file of metrics."""
        return max(
            (line["step"] for path in parent.glob("*/metrics.jsonl") for line in read_metrics(path)),
            default=0,
        )

    def begin(least):
        """Start the command and wait until it has taken a later step than that."""
        run = kedro_run(data, *command)
        run.wait_for("pretrain.pretrain_backbones")
        run.wait_while_it_runs(lambda: written() > least)
        return run

    begin(2).kill()
    (killed,) = runs(database)[len(before) :]
    assert killed.info.status == "RUNNING"

    terminated = begin(written())
    os.kill(terminated.process.pid, signal.SIGTERM)
    assert terminated.finish() == STOPPED_STATUS
    reason = re.search(
        r"pretrain_lafs stopped at step (\d+) of 60 \(SIGTERM\)", terminated.stderr.splitlines()[-1]
    )
    step = int(reason[1])
    assert max(path.name for path in parent.glob("*/step-*")) == f"step-{step:08d}"
    (stopped,) = runs(database)[len(before) :]
    assert (stopped.info.run_id, stopped.info.status) == (killed.info.run_id, "KILLED")
    assert stopped.data.params == killed.data.params
    assert len(stopped.inputs.dataset_inputs) == 1
    assert steps(client, killed.info.run_id) == set(range(1, step + 1))

    finishing = kedro_run(data, *command)
    assert finishing.finish() == 0, finishing.stderr[-3000:]
    assert (data / "06_models/backbones/lafs.safetensors").exists()
    (finished,) = runs(database)[len(before) :]
    assert (finished.info.run_id, finished.info.status) == (killed.info.run_id, "FINISHED")
    assert steps(client, killed.info.run_id) == set(range(1, 61))


def test_an_interrupted_run_does_not_count_as_finished(kedro_run, tmp_path, runs):
    many = "--params=cataloging.sources.synthetic.identities=5000"
    run = kedro_run(tmp_path, "--pipelines=cataloging", many)
    run.wait_for("cataloging.ingest")
    os.kill(run.process.pid, signal.SIGINT)
    assert run.finish() != 0
    (tracked,) = runs(f"sqlite:///{tmp_path}/mlflow.db")
    assert tracked.info.status == "KILLED"
    assert RunRecord(tmp_path / "06_models/checkpoints").read().run_id == tracked.info.run_id
