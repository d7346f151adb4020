"""One group over two hosts: two network namespaces of this machine, joined by a cable (veth)."""

import os
import shutil
import signal
import subprocess

import pytest
from tests.waiting import until

ADDRESSES = ("10.77.0.1", "10.77.0.2")
RENDEZVOUS = f"{ADDRESSES[0]}:29471"
CABLE = {"GLOO_SOCKET_IFNAME": "cable"}


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
        settings = {"processes": 1, "nodes": 2, "node_rank": host, "rendezvous": RENDEZVOUS} | settings
        return start(
            worker, config, {"timeout_seconds": 60} | settings, CABLE, ("ip", "netns", "exec", hosts[host])
        )

    return begin


def both_started(folder):
    return len(list(folder.glob("started-*"))) == 2


@pytest.mark.slow
def test_two_hosts_are_one_group_numbered_as_they_are_told_in_every_launch(start_on):
    programs = [start_on(host, "two_launches") for host in (1, 0)]
    for rank, program in zip((1, 0), programs, strict=True):
        for number, result in enumerate(program.outcome()["result"], 1):
            assert (result["config"], result["rank"], result["size"], result["sum"]) == (
                number,
                rank,
                2,
                11.0,
            )
            assert (result["broadcast"], result["agreed"]) == ({"from": 1}, "rank 1")


@pytest.mark.slow
def test_a_signal_to_one_host_stops_both_at_one_step(start_on, tmp_path):
    programs = [start_on(host, "stop_when_asked", str(tmp_path)) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    programs[1].process.send_signal(signal.SIGTERM)
    for program in programs:
        assert program.outcome() == {"error": "Stopped", "message": "SIGTERM"}
    assert len({path.read_text() for path in tmp_path.glob("stopped-*")}) == 1


@pytest.mark.slow
def test_a_failure_on_one_host_ends_both_and_is_named_where_it_was(start_on):
    programs = [start_on(host, "fail", "killed") for host in (0, 1)]
    outcomes = [program.outcome() for program in programs]
    assert "rank 1 on" in outcomes[1]["message"]
    assert "was killed by SIGKILL" in outcomes[1]["message"]
    assert outcomes[0]["error"] in ("WorkerFailed", "LafsError")


@pytest.mark.slow
@pytest.mark.parametrize("host", [0, 1])
def test_a_host_that_dies_ends_the_other(start_on, tmp_path, host):
    programs = [start_on(number, "until_told", str(tmp_path)) for number in (0, 1)]
    until(lambda: both_started(tmp_path))
    kill(programs[host], tmp_path, host)
    assert programs[1 - host].outcome()["error"] in ("WorkerFailed", "LafsError")


def kill(program, folder, rank):
    """What a power cut does to a host: its launcher and its worker are gone at once."""
    for path in folder.glob(f"started-{rank}-*"):
        os.kill(int(path.name.rpartition("-")[2]), signal.SIGKILL)
    program.process.kill()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_on_both_hosts(start_on, tmp_path):
    programs = [start_on(host, "fail_once", str(tmp_path), max_restarts=2) for host in (0, 1)]
    assert [program.outcome() for program in programs] == [{"result": "written in the first life"}] * 2


@pytest.mark.slow
def test_a_host_that_comes_back_joins_again(start_on, tmp_path):
    programs = [start_on(host, "until_told", str(tmp_path), max_restarts=2) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    kill(programs[1], tmp_path, 1)
    again = start_on(1, "until_told", str(tmp_path), max_restarts=2)
    until(lambda: len(list(tmp_path.glob("started-*"))) == 4)
    (tmp_path / "go").touch()
    assert (programs[0].outcome(), again.outcome()) == ({"result": 0}, {"result": 1})


@pytest.mark.slow
def test_a_cut_cable_ends_both_hosts_by_the_timeout(start_on, hosts, tmp_path):
    for name in hosts:  # after about 3 s instead of 15 minutes TCP gives up
        ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_retries2=4")
    programs = [start_on(host, "until_told", str(tmp_path), timeout_seconds=10) for host in (0, 1)]
    until(lambda: both_started(tmp_path))
    ip("-n", hosts[1], "link", "set", "cable", "down")
    for program in programs:
        outcome = program.outcome()
        assert outcome["error"] in ("WorkerFailed", "LafsError"), outcome


@pytest.mark.slow
def test_hosts_that_differ_in_processes_are_refused(start_on):
    programs = [start_on(host, "describe", processes=1 + host) for host in (0, 1)]
    assert any("launch.processes is" in program.outcome()["message"] for program in programs)


@pytest.mark.parametrize("host", [0, 1])
def test_hosts_that_do_not_come_are_waited_for_no_longer_than_the_timeout(start_on, host):
    outcome = start_on(host, "describe", timeout_seconds=2).outcome()
    assert outcome["error"] == "LafsError"
    assert f"the 2 hosts do not meet at {RENDEZVOUS}" in outcome["message"]


def test_a_signal_while_waiting_for_the_others_stops(start_on, hosts):
    program = start_on(0, "describe")
    until(lambda: RENDEZVOUS.rpartition(":")[2] in ip("netns", "exec", hosts[0], "ss", "-ltn").stdout)
    program.process.send_signal(signal.SIGTERM)
    assert program.outcome() == {"error": "Stopped", "message": "SIGTERM"}
