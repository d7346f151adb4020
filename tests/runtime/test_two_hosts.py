"""One group over two hosts: two network namespaces of this machine, joined by a cable (veth)."""

import os
import shutil
import signal
import subprocess

import pytest
from tests.waiting import until

ADDRESSES = ("10.77.0.1", "10.77.0.2")
RENDEZVOUS = f"{ADDRESSES[0]}:29471"


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)


@pytest.fixture
def hosts():
    """The names of two network namespaces that reach each other and nothing else."""
    names = [f"lafs{os.getpid()}{side}" for side in "ab"]
    if shutil.which("ip") is None or ip("netns", "add", names[0], check=False).returncode:
        pytest.skip("network namespaces cannot be made here: needs root and the ip command (iproute2)")
    try:
        ip("netns", "add", names[1])
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "cable", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name, check=False)


@pytest.fixture
def start_on(start, hosts):
    """Starts a program on host 0 or 1."""

    def begin(host, worker, config=None, **settings):
        settings = {"processes": 1, "nodes": 2, "rendezvous": RENDEZVOUS, "timeout_seconds": 60} | settings
        return start(worker, config, settings, before=("ip", "netns", "exec", hosts[host]))

    return begin


@pytest.mark.slow
def test_two_hosts_are_one_group_in_every_launch(start_on):
    programs = [start_on(host, "two_launches") for host in (1, 0)]
    launches = list(zip(*(program.outcome()["result"] for program in programs), strict=True))
    assert [{result["config"] for result in launch} for launch in launches] == [{1}, {2}]
    for launch in launches:
        assert {result["rank"] for result in launch} == {0, 1}
        for result in launch:
            assert (result["size"], result["local_rank"], result["sum"]) == (2, 0, 11.0)
            assert (result["broadcast"], result["agreed"]) == ({"from": 1}, "rank 1")


def test_hosts_take_the_numbers_they_are_given(start_on):
    programs = [start_on(host, "describe", node_rank=host) for host in (1, 0)]
    assert [program.outcome()["result"]["rank"] for program in programs] == [1, 0]


def kill(program, folder, rank):
    """What a power cut does to a host: its launcher and its worker are gone at once."""
    for path in folder.glob(f"started-{rank}-*"):
        os.kill(int(path.name.rpartition("-")[2]), signal.SIGKILL)
    program.process.kill()


def both_started(folder):
    return len(list(folder.glob("started-*"))) == 2


@pytest.mark.slow
def test_a_host_that_dies_is_named_by_the_other(start_on, tmp_path):
    programs = [start_on(host, "until_told", str(tmp_path), node_rank=host) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    kill(programs[1], tmp_path, 1)
    outcome = programs[0].outcome()
    assert outcome["error"] == "WorkerFailed"
    assert f"({ADDRESSES[1]}) no longer answers" in outcome["message"]


@pytest.mark.slow
def test_a_dead_host_of_the_rendezvous_is_named_by_the_other(start_on, tmp_path):
    programs = [start_on(host, "until_told", str(tmp_path), node_rank=host) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    kill(programs[0], tmp_path, 0)
    outcome = programs[1].outcome()
    assert outcome["error"] == "WorkerFailed"
    assert f"the rendezvous {RENDEZVOUS} no longer answers" in outcome["message"]


@pytest.mark.slow
def test_a_failure_on_one_host_is_told_on_the_other(start_on):
    programs = [start_on(host, "fail", "killed", node_rank=host) for host in (0, 1)]
    outcomes = [program.outcome() for program in programs]
    assert outcomes[0] == outcomes[1]
    assert f"({ADDRESSES[1]})" in outcomes[0]["message"]
    assert "was killed by SIGKILL" in outcomes[0]["message"]


@pytest.mark.slow
def test_a_host_that_comes_back_is_taken_in_again(start_on, tmp_path):
    settings = {"max_restarts": 1}
    programs = [start_on(host, "until_told", str(tmp_path), node_rank=host, **settings) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    kill(programs[1], tmp_path, 1)
    again = start_on(1, "until_told", str(tmp_path), node_rank=1, **settings)
    until(lambda: len(list(tmp_path.glob("started-*"))) == 4)
    (tmp_path / "go").touch()
    assert (programs[0].outcome(), again.outcome()) == ({"result": 0}, {"result": 1})


@pytest.mark.slow
def test_a_cut_cable_ends_both_hosts_and_names_the_other_side(start_on, hosts, tmp_path):
    for name in hosts:  # after about 3 s instead of 15 minutes TCP gives up
        ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_retries2=4")
    settings = {"timeout_seconds": 4}
    programs = [start_on(host, "until_told", str(tmp_path), node_rank=host, **settings) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    ip("-n", hosts[1], "link", "set", "cable", "down")
    outcomes = [program.outcome() for program in programs]
    assert f"rank 1 on {os.uname().nodename} ({ADDRESSES[1]})" in outcomes[0]["message"]
    assert "stopped answering" in outcomes[0]["message"]
    assert f"the rendezvous {RENDEZVOUS} no longer answers" in outcomes[1]["message"]


def test_hosts_that_do_not_come_are_waited_for_no_longer_than_the_timeout(start_on):
    outcome = start_on(0, "describe", timeout_seconds=2).outcome()
    assert outcome["error"] == "LafsError"
    assert f"not all of 2 hosts came to the rendezvous {RENDEZVOUS} within 2 s" in outcome["message"]


def test_a_rendezvous_that_nobody_serves_is_named(start_on):
    outcome = start_on(1, "describe", timeout_seconds=2).outcome()
    assert outcome["error"] == "LafsError"
    assert f"the rendezvous {RENDEZVOUS} did not answer for 2 s" in outcome["message"]


def test_a_signal_while_waiting_for_the_others_stops(start_on, hosts):
    program = start_on(0, "describe")
    until(lambda: RENDEZVOUS.rpartition(":")[2] in ip("netns", "exec", hosts[0], "ss", "-ltn").stdout)
    program.process.send_signal(signal.SIGTERM)
    assert program.outcome() == {"error": "Stopped", "message": "SIGTERM"}
