"""Workers in processes of their own: results, failures, signals, ends."""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import launch_workers as workers
import pytest
import torch
from tests.servers import free_port
from tests.waiting import until

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch import WorkerFailed, launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.places import first_host, given_hosts, given_place

TWO = LaunchSettings(processes=2)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


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
    before = dict(os.environ)
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    result = launch(workers.describe, {"a": [1, 2]}, TWO)
    assert result.pop("pid") != os.getpid()
    assert result == {
        "config": {"a": [1, 2]},
        "rank": 0,
        "local_rank": 0,
        "size": 2,
        "sum": 11.0,
        "broadcast": {"from": 1},
        "agreed": "rank 1",
        "nothing agreed": None,
        "threads": max(1, len(os.sched_getaffinity(0)) // 2),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    assert dict(os.environ) == before
    assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers


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
def test_a_refusal_stays_what_it_is():
    with pytest.raises(LafsError) as caught:
        launch(workers.fail, "refused", TWO)
    assert str(caught.value) == "folder x: expected faces, found none; give another"


def test_an_exception_names_rank_and_shows_the_workers_traceback_once():
    with pytest.raises(WorkerFailed) as caught:
        launch(workers.fail, "raised", TWO)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("rank 1 on ")
    assert lines[1] == "Traceback (most recent call last):"
    assert "launch_workers.py" in lines[2]
    assert lines[-1] == "KeyError: 'a key that is not there'"
    assert str(caught.value).count("Traceback") == 1


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("killed", "killed by SIGKILL"),
        pytest.param("exits", "ended with exit status 7", marks=pytest.mark.slow),
    ],
)
def test_an_end_without_a_word_is_named_not_its_consequences(how, what):
    with pytest.raises(WorkerFailed, match=rf"rank 1 on \S+ \(process \d+\) .*{what}"):
        launch(workers.fail, how, TWO)


@pytest.mark.slow
def test_a_failed_group_is_started_anew(tmp_path):
    settings = LaunchSettings(processes=2, max_restarts=1)
    assert launch(workers.fail_once, str(tmp_path), settings) == "written in the first life"


@pytest.mark.slow
def test_a_refusal_is_not_tried_again(tmp_path):
    with pytest.raises(LafsError, match="never good"):
        launch(workers.count_attempts, str(tmp_path), LaunchSettings(processes=2, max_restarts=3))
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # one attempt of each rank


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGUSR1))],
)
def test_a_signal_lets_all_workers_stop_at_the_same_step(start, tmp_path, number):
    program = start("stop_when_asked", str(tmp_path), {"processes": 2, "max_restarts": 2})
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    program.process.send_signal(number)
    assert program.outcome() == {"error": "Stopped", "message": signal.Signals(number).name}
    steps = {path.read_text() for path in tmp_path.glob("stopped-*")}
    assert len(list(tmp_path.glob("stopped-*"))) == 2
    assert len(steps) == 1


@pytest.mark.slow
def test_a_signal_that_comes_while_workers_start_is_not_lost(start, tmp_path):
    program = start("stop_when_asked", str(tmp_path), {"processes": 2})
    until(lambda: len(children(program.process.pid)) == 3)  # two workers and multiprocessing's tracker
    program.process.send_signal(signal.SIGTERM)
    assert program.outcome() == {"error": "Stopped", "message": "SIGTERM"}


@pytest.mark.slow
def test_a_second_signal_ends_everything_at_once(start, tmp_path):
    program = start("never_stop", str(tmp_path), {"processes": 2})
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    pids = [pid for path in tmp_path.glob("started-*") for pid in json.loads(path.read_text())]
    program.process.send_signal(signal.SIGTERM)
    time.sleep(2)  # sooner it would count as the same request
    assert program.process.poll() is None
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(60) == 128 + signal.SIGTERM
    until(lambda: not any(map(alive, pids)))


def test_workers_and_their_children_end_with_a_killed_parent(start, tmp_path):
    program = start("never_stop", str(tmp_path), {"processes": 2})
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    pids = [pid for path in tmp_path.glob("started-*") for pid in json.loads(path.read_text())]
    assert all(map(alive, pids))
    program.process.kill()
    until(lambda: not any(map(alive, pids)))


@pytest.mark.slow
def test_children_of_a_killed_worker_end(start, tmp_path):
    program = start("never_stop", str(tmp_path), {"processes": 2})
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    (worker, _), (_, _) = pids = [json.loads((tmp_path / f"started-{rank}").read_text()) for rank in (0, 1)]
    os.kill(worker, signal.SIGKILL)
    assert (
        f"rank 0 on {os.uname().nodename} (process {worker}) was killed by SIGKILL"
        in program.outcome()["message"]
    )
    until(lambda: not any(alive(pid) for pair in pids for pid in pair))


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")


@pytest.mark.slow
def test_torchruns_processes_are_taken_as_they_are(start):
    program = start("two_launches", None, {"processes": 5}, program=(*TORCHRUN, "--standalone"))
    out, _ = program.process.communicate(timeout=120)
    results = [json.loads(line)["result"] for line in out.splitlines()]
    assert sorted((first["rank"], first["local_rank"]) for first, _ in results) == [(0, 0), (1, 1)]
    for first, second in results:
        assert (first["sum"], first["size"], first["broadcast"]) == (11.0, 2, {"from": 1})
        assert (first["config"], second["config"]) == (1, 2)
        assert first["pid"] == second["pid"]


def test_the_tasks_of_a_slurm_step_are_taken_as_they_are(start):
    step = {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NODEID": "0",
        "MASTER_PORT": str(free_port()),
    }
    tasks = [
        start("two_launches", None, {}, step | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)})
        for task in (0, 1)
    ]
    for task, program in enumerate(tasks):
        first, second = program.outcome()["result"]
        assert (first["rank"], first["local_rank"], first["size"]) == (task, task, 2)
        assert (first["sum"], first["pid"]) == (11.0, program.process.pid)
        assert (second["config"], second["sum"]) == (2, 11.0)


@pytest.mark.slow
def test_slurm_with_one_task_a_node_starts_workers_on_every_node(start):
    step = {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "localhost,another[01-03]",
        "SLURM_LOCALID": "0",
        "MASTER_PORT": str(free_port()),
    }
    nodes = [
        start(
            "two_launches",
            None,
            {"processes": 1},
            step | {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node)},
        )
        for node in (1, 0)
    ]
    for node, program in zip((1, 0), nodes, strict=True):
        for result in program.outcome()["result"]:
            assert (result["rank"], result["local_rank"], result["size"]) == (node, 0, 2)
            assert result["sum"] == 11.0


def test_a_batch_script_is_no_slurm_step(monkeypatch):
    for name, value in {"SLURM_JOB_ID": 1, "SLURM_NTASKS": 8, "SLURM_NNODES": 2, "SLURM_PROCID": 0}.items():
        monkeypatch.setenv(name, str(value))
    assert given_place() is None
    assert given_hosts() is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu03", "gpu03"),
        ("gpu03,gpu04", "gpu03"),
        ("gpu[03-05,7],login1", "gpu03"),
        ("gpu[7,9-11]", "gpu7"),
        ("rack[2-3]-node[10-12].site,x", "rack2-node10.site"),
        ("", ""),
    ],
)
def test_first_host_of_a_slurm_node_list(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 0}, "processes is 0"),
        ({"nodes": 2, "node_rank": 2}, "node_rank is 2"),
        ({"nodes": 2}, "launch.rendezvous is not set"),
        ({"nodes": 2, "rendezvous": "10.0.0.1"}, "give host:port"),
        ({"nodes": 2, "rendezvous": "a b:1"}, "give host:port"),
        ({"nodes": 2, "rendezvous": "10.0.0.1:99999"}, "give host:port"),
        ({"nodes": 2, "rendezvous": "no-such-host.invalid:29400"}, "cannot be resolved"),
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
        with pytest.raises(LafsError, match=r"cannot be opened here \(.*; choose another port$"):
            launch(workers.describe, None, LaunchSettings(**settings))
