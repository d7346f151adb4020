"""Workers in processes of their own: results, failures, restarts, signals, ends."""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import launch_workers as workers
import numpy as np
import pandas as pd
import pytest
import torch
from tests.servers import free_port
from tests.waiting import until

from lafs_pipeline.runtime.errors import LafsError, WorkerFailed
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings, given_ranks

TWO = LaunchSettings(processes=2)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
STEP = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "MASTER_ADDR": "localhost"}


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid):
    """Those that any thread of a process has started."""
    return [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in read(task / "children").split()
    ]


def read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.fixture
def started(start, tmp_path):
    """Starts a worker in two processes; gives the program and the ids of workers and their children."""

    def begin(worker, **settings):
        program = start(worker, str(tmp_path), {"processes": 2} | settings)
        until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
        pids = [json.loads((tmp_path / f"started-{rank}").read_text()) for rank in (0, 1)]
        assert all(alive(pid) for pair in pids for pid in pair)
        return program, pids

    return begin


def test_one_process_runs_in_place():
    result = launch(workers.describe, {"a": 1}, LaunchSettings(processes=1))
    assert result["pid"] == os.getpid()
    assert (result["rank"], result["size"], result["sum"], result["agreed"]) == (0, 1, 1.0, None)


def test_an_exception_in_place_passes_unchanged():
    error = ValueError("x")

    def worker(_):
        raise error

    with pytest.raises(ValueError, match="x") as caught:
        launch(worker, None, LaunchSettings(processes=1))
    assert caught.value is error


def test_two_processes_are_one_group(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    result = launch(workers.describe, {"a": [1, 2]}, TWO)
    assert result.pop("pid") != os.getpid()
    assert result == {
        "config": {"a": [1, 2]},
        "rank": 0,
        "size": 2,
        "sum": 11.0,
        "broadcast": {"from": 1},
        "agreed": "rank 1",
        "nothing agreed": None,
        "threads": max(1, len(os.sched_getaffinity(0)) // 2),
        "waiting": "PASSIVE",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_tables_and_mapped_arrays_travel_by_path(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(12.0).reshape(4, 3))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    table = pd.DataFrame(
        {
            "key": pd.array(["a", "b", None], dtype="string"),
            "split": pd.Categorical(["x", "y", "x"]),
            "hash": pd.array([1, None, 3], dtype="Int64"),
            "number": np.arange(3),
        },
        index=[5, 6, 9],
    )
    found = launch(workers.describe_data, (table, mapped, mapped[1:]), TWO)
    assert found == workers.describe_data((table, mapped, mapped[1:])) | {"own": False}


@pytest.mark.slow
def test_configuration_and_result_arrive_as_they_are_also_in_another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(launch(workers.echo, "${local_rank} $$", TWO)))
    thread.start()
    thread.join()
    assert results == ["${local_rank} $$"]


@pytest.mark.slow
def test_a_result_that_cannot_travel_is_the_workers_failure():
    with pytest.raises(WorkerFailed, match=r"rank 0 on .*(?s:.*)pickle"):
        launch(workers.unpicklable, None, TWO)


@pytest.mark.slow
def test_a_refusal_stays_what_it_is_and_is_not_tried_again(tmp_path, caplog):
    with pytest.raises(LafsError) as caught:
        launch(workers.count_attempts, str(tmp_path), LaunchSettings(processes=2, max_restarts=3))
    assert str(caught.value) == "never good"
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # one attempt of each rank
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_an_exception_names_rank_and_shows_the_workers_traceback_once(start):
    program = start("fail", "raised", {"processes": 2})
    out, errors = program.process.communicate(timeout=120)
    outcome = json.loads(out)
    lines = outcome["message"].splitlines()
    assert outcome["error"] == "WorkerFailed"
    assert lines[0].startswith(f"rank 1 on {os.uname().nodename} (process ")
    assert lines[1] == "Traceback (most recent call last):"
    assert "launch_workers.py" in lines[-3]
    assert lines[-1] == "KeyError: 'a key that is not there'"
    assert outcome["message"].count("Traceback") == 1
    assert errors == ""


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("killed", "was killed by SIGKILL"),
        pytest.param("exits", "ended with exit status 7", marks=pytest.mark.slow),
    ],
)
def test_an_end_without_a_message_is_named_not_its_consequences(how, what):
    with pytest.raises(WorkerFailed, match=rf"^rank 1 on \S+ \(process \d+\) {what}"):
        launch(workers.fail, how, TWO)


@pytest.mark.slow
def test_a_failed_group_is_started_anew(tmp_path, caplog):
    settings = LaunchSettings(processes=2, max_restarts=1)
    assert launch(workers.fail_once, str(tmp_path), settings) == "written in the first life"
    (record,) = [record for record in caplog.records if record.levelname != "INFO"]
    assert "restarting, 0 left, after: process 1 terminated with signal SIGKILL" in record.getMessage()


@pytest.mark.slow
@pytest.mark.parametrize("program", [(sys.executable,), TORCHRUN])
def test_a_rank_that_hangs_ends_the_group_by_the_timeout(start, program):
    started = start("fail", "hung", {"processes": 2, "timeout_seconds": 3}, program=program)
    out, errors = started.process.communicate(timeout=120)
    assert started.process.returncode == 1
    assert "Timed out waiting 3000ms" in out + errors


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGUSR1))],
)
def test_a_signal_lets_all_workers_stop_at_the_same_step(started, tmp_path, number):
    program, _ = started("stop_when_asked", max_restarts=2)
    program.process.send_signal(number)
    assert program.outcome() == {"error": "Stopped", "message": signal.Signals(number).name}
    steps = [path.read_text() for path in tmp_path.glob("stopped-*")]
    assert len(steps) == 2
    assert len(set(steps)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("early", [True, False])
def test_a_signal_to_all_processes_of_a_job_is_one_request(start, tmp_path, number, early):
    """As Ctrl-C in a terminal, or scancel, also while the workers still start."""
    program = start("stop_when_asked", str(tmp_path), {"processes": 2}, before=("setsid",))
    if early:
        until(lambda: len(children(program.process.pid)) == 3)  # two workers and multiprocessing's tracker
    else:
        until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    os.killpg(program.process.pid, number)
    assert program.outcome()["error"] == "Stopped"
    assert len(list(tmp_path.glob("stopped-*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [0, 2])
def test_a_second_signal_ends_everything_at_once(started, restarts):
    program, pids = started("never_stop", max_restarts=restarts)
    program.process.send_signal(signal.SIGTERM)
    time.sleep(5)  # sooner it would count as the same request
    assert program.process.poll() is None
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(120) == 128 + signal.SIGTERM
    until(lambda: not any(alive(pid) for pair in pids for pid in pair))


def test_workers_and_their_children_end_with_a_killed_parent(started):
    program, pids = started("never_stop")
    program.process.kill()
    until(lambda: not any(alive(pid) for pair in pids for pid in pair))


@pytest.mark.slow
def test_children_of_a_killed_worker_end(started):
    program, pids = started("never_stop")
    os.kill(pids[0][0], signal.SIGKILL)
    where = f"rank 0 on {os.uname().nodename} (process {pids[0][0]})"
    assert f"{where} was killed by SIGKILL" in program.outcome()["message"]
    until(lambda: not any(alive(pid) for pair in pids for pid in pair))


@pytest.mark.slow
def test_torchruns_processes_are_taken_as_they_are(start):
    program = start("two_launches", None, {"processes": 5}, program=TORCHRUN)
    out, _ = program.process.communicate(timeout=120)
    results = [json.loads(line)["result"] for line in out.splitlines()]
    assert sorted(first["rank"] for first, _ in results) == [0, 1]
    for first, second in results:
        assert (first["sum"], first["size"], first["broadcast"]) == (11.0, 2, {"from": 1})
        assert (first["config"], second["config"]) == (1, 2)
        assert first["pid"] == second["pid"]


def test_the_tasks_of_a_slurm_step_are_taken_as_they_are(start):
    step = STEP | {"MASTER_PORT": str(free_port())}
    tasks = [
        start("two_launches", None, {}, step | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)})
        for task in (0, 1)
    ]
    for task, program in enumerate(tasks):
        first, second = program.outcome()["result"]
        assert (first["rank"], first["size"], first["sum"]) == (task, 2, 11.0)
        assert first["pid"] == program.process.pid
        assert (second["config"], second["sum"]) == (2, 11.0)


@pytest.mark.parametrize("missing", ["MASTER_ADDR", "MASTER_PORT", "SLURM_LOCALID"])
def test_a_slurm_step_without_a_variable_is_refused(monkeypatch, missing):
    step = STEP | {"MASTER_PORT": "29500", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for name in step.keys() - {missing}:
        monkeypatch.setenv(name, step[name])
    monkeypatch.delenv(missing, raising=False)
    message = f"export {missing}=" if missing.startswith("MASTER") else f"{missing}=$"
    with pytest.raises(LafsError, match=message):
        given_ranks()


def test_a_batch_script_is_no_slurm_step(monkeypatch):
    for name, value in {"SLURM_JOB_ID": 1, "SLURM_NTASKS": 8, "SLURM_LOCALID": 0, "SLURM_PROCID": 0}.items():
        monkeypatch.setenv(name, str(value))
    assert given_ranks() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 0}, "processes is 0"),
        ({"nodes": 2, "node_rank": 2}, "node_rank is 2"),
        ({"nodes": 2, "rendezvous": "10.0.0.1:29400"}, r"set launch\.node_rank on every host"),
        ({"nodes": 2, "node_rank": 0}, r"give host:port"),
        ({"nodes": 2, "node_rank": 0, "rendezvous": "10.0.0.1"}, "give host:port"),
        ({"nodes": 2, "node_rank": 0, "rendezvous": "a b:1"}, "give host:port"),
        ({"nodes": 2, "node_rank": 0, "rendezvous": "10.0.0.1:99999"}, "10.0.0.1:99999, or one was lost"),
        (
            {"nodes": 2, "node_rank": 0, "rendezvous": "no-host.invalid:29400"},
            "no-host.invalid:29400, or one",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(LafsError, match=message):
        launch(workers.describe, None, LaunchSettings(**settings))


def test_a_rendezvous_whose_port_is_taken_is_refused():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        settings = {"nodes": 2, "node_rank": 0, "rendezvous": f"127.0.0.1:{other.getsockname()[1]}"}
        with pytest.raises(LafsError, match=r"(?s)do not meet at 127\.0\.0\.1:.*the port must be free"):
            launch(workers.describe, None, LaunchSettings(timeout_seconds=2, **settings))
