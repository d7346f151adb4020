"""What is shown, and the exit status, when a run does not reach its end."""

import logging
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from kedro.config import MissingConfigException
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from lafs_pipeline.hooks.ending import (
    FILTERS,
    STOPPED_STATUS,
    explained,
    shown_error,
    stop_reason,
    understood,
)
from lafs_pipeline.runtime.errors import LafsError, Stopped, WorkerFailed
from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader

PROJECT = Path(__file__).parents[2]


def fail():
    raise LafsError("mend it")


def raised(error, cause=None, context=None):
    """An exception as it arrives after it was raised from, or while handling, another one."""
    try:
        try:
            raise cause or context or error
        except Exception as inner:
            if inner is error:
                raise
            if cause is not None:
                raise error from cause
            raise error  # noqa: B904 - an implicit context is what is tested
    except Exception as caught:
        return caught


def test_the_status_is_that_of_a_temporary_failure():
    assert os.EX_TEMPFAIL == STOPPED_STATUS


def test_a_stop_is_found_through_its_wrappers():
    stop = Stopped("SIGTERM")
    assert stop_reason(stop) == "SIGTERM"
    assert stop_reason(raised(RuntimeError(), cause=raised(ValueError(), cause=stop))) == "SIGTERM"
    assert stop_reason(RuntimeError()) is None
    assert stop_reason(None) is None


def test_what_failed_while_stopping_is_no_stop():
    failed = raised(OSError("disk full"), context=Stopped("SIGTERM"))
    assert isinstance(failed.__context__, Stopped)
    assert stop_reason(failed) is None
    assert shown_error(failed) is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: pipelines["cataloging"].only_nodes("ingets"),
            r"does not contain nodes named \['ingets'\].*registry",
        ),
        (lambda: pipelines["cataloging"].filter(tags=["nope"]), "no nodes.*registry describe NAME"),
        (
            lambda: ProjectConfigLoader(str(PROJECT / "conf"), **CONFIG_LOADER_ARGS, env="nope")[
                "parameters"
            ],
            r"conf/nope.*--env .or the variable KEDRO_ENV. names a folder",
        ),
    ],
)
def test_what_kedro_cannot_run_is_one_message(call, said):
    bootstrap_project(PROJECT)
    with pytest.raises((ValueError, MissingConfigException)) as caught:
        call()
    assert re.search(said, str(explained(caught.value)), re.DOTALL)
    assert explained(raised(ValueError("a bug"))) is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"parameters.yml": "seed:\t3\n  a: b"}, r"cannot be read: .*conf/base/parameters\.yml.*line 1"),
        ({"parameters.yml": "seed: 3", "parameters_b.yml": "seed: 4"}, r"Duplicate keys.*_b\.yml.*seed"),
        ({"parameters.yml": "seed: ${nothing:}"}, "cannot be read: Unsupported interpolation type nothing"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_message(tmp_path, files, said):
    (tmp_path / "conf/base").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "conf/base" / name).write_text(text)
    options = CONFIG_LOADER_ARGS | {"default_run_env": "base"}
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        ProjectConfigLoader(str(tmp_path / "conf"), **options)["parameters"]
    assert re.search(said, str(understood(caught.value)))
    assert "lafs_pipeline.log" in str(understood(caught.value))


def test_an_entry_that_cannot_be_made_or_read_is_one_message(tmp_path):
    unknown = DataCatalog.from_config({"faces": {"type": "pandas.NoSuchDataset", "filepath": "x"}})
    with pytest.raises(DatasetError) as caught:
        unknown.get("faces")
    assert re.search("'faces'.*NoSuchDataset.*catalog.yml of conf/", str(understood(caught.value)))
    damaged = tmp_path / "table.parquet"
    damaged.write_bytes(b"damaged")
    catalog = DataCatalog.from_config({"faces": {"type": "pandas.ParquetDataset", "filepath": str(damaged)}})
    with pytest.raises(DatasetError) as caught:
        catalog.load("faces")
    assert str(damaged) in str(understood(caught.value))


@pytest.mark.parametrize("error", [LafsError("mend it"), WorkerFailed("rank 1 was killed")])
def test_understood_errors_are_found_through_wrappers(error):
    assert shown_error(error) is error
    assert shown_error(raised(RuntimeError(), cause=error)) is error
    assert shown_error(raised(RuntimeError(), context=error)) is error
    assert shown_error(RuntimeError("a bug")) is None
    assert shown_error(None) is None


@pytest.mark.parametrize("is_quiet", [True, False])
def test_kedro_does_not_advise_to_repeat_what_has_failed(caplog, is_quiet):
    """It says so of a first node that fails."""
    name = "kedro.runner.sequential_runner"
    quiet = FILTERS[name]
    logging.getLogger(name).addFilter(quiet) if is_quiet else None
    try:
        with caplog.at_level("INFO", "kedro"), pytest.raises(LafsError):
            SequentialRunner().run(Pipeline([Node(fail, None, "x", name="first")]), DataCatalog())
    finally:
        logging.getLogger(name).removeFilter(quiet)
    assert ("Repeat the previous command" in caplog.text) is not is_quiet


@pytest.mark.parametrize(
    ("error", "repeats", "advice"),
    [
        (Stopped("SIGTERM"), False, False),
        (LafsError("mend it"), False, True),
        (WorkerFailed("rank 1"), False, True),
        (KeyError("a bug"), True, True),
        (None, True, True),
    ],
)
def test_kedro_does_not_repeat_what_is_shown_at_the_end(error, repeats, advice):
    record = logging.makeLogRecord({"msg": "said by Kedro"})

    def passes(name):
        if error is None:
            return FILTERS[name].filter(record)
        try:
            raise error
        except Exception:
            return FILTERS[name].filter(record)

    assert passes("kedro.pipeline.node") is repeats
    assert passes("kedro.runner.sequential_runner") is advice


def children(process_id):
    """Processes started by a process, with their command lines (Linux)."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == process_id:
            found[int(status.parent.name)] = command
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_a_lost_worker_is_named_once_and_the_run_has_failed(kedro_run, data, runs):
    database = f"sqlite:///{data}/mlflow.db"
    before = runs(database)
    settings = "pretrain.methods=[lafs],pretrain.training.epochs=300,launch.processes=2"
    run = kedro_run(data, "--pipelines=pretrain", f"--params={settings}")
    metrics = data / "06_models/checkpoints/pretrain_lafs"
    run.wait_while_it_runs(
        lambda: any(path.read_text().count("\n") > 2 for path in metrics.glob("*/metrics.jsonl"))
    )
    workers = [child for child, command in children(run.process.pid).items() if b"spawn_main" in command]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert run.finish() == 1
    message = run.stderr.split("\nError: ")[1]
    assert "SIGKILL" in message
    assert run.stderr.count("Error: ") == 1
    assert "kedro" not in message
    assert "failed with error" not in run.stdout
    (tracked,) = runs(database)[len(before) :]
    assert tracked.info.status == "FAILED"
