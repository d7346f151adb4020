"""Running a worker in one process or many, on one host or several."""

import os
import pickle
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.agent.server.api import WorkerSpec

from lafs_pipeline.runtime import network, places, processes, rendezvous
from lafs_pipeline.runtime.agent import Group, WorkerAgent
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.failures import Failure, failure_of, write_failure
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.stop_signals import StopSignals, release_signals

Config = TypeVar("Config")
Result = TypeVar("Result")
_launches = count()


class Stopped(Exception):  # noqa: N818 - it is no error
    """A training stopped before its end and can be continued. All processes of a group raise it together.

    Attributes:
        reason: what asked it to stop, as it shall be shown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """A worker raised, was killed or hung, or its host was lost: the message says which, where and why."""


def launch(worker: Callable[[Config], Result], config: Config, settings: LaunchSettings) -> Result:
    """Run `worker(config)` in every process of a group and return the result of this host's first.

    One process on one host runs it in place. Under torchrun, in a SLURM step with several tasks a node, and
    inside another launch the group exists already: it runs in place as a member. Otherwise workers are
    started on this host, in a SLURM step with one task a node together with those of the other nodes, and
    otherwise with those of `settings.nodes` hosts that meet at `settings.rendezvous`.

    The first SIGTERM, SIGINT or SIGUSR1 is passed on to the workers, which may finish and save their step; a
    second one kills them and ends this process. Workers never outlive this process.

    Args:
        worker: a function of a module, so that other processes can import it; its result must be small. A
            group in which no process calls `watchdog.progress` for `settings.timeout_seconds` is ended.
        config: what it gets; must be picklable.
        settings: how it is run.

    Raises:
        LafsError: raised by a worker, or the hosts do not find each other.
        Stopped: raised by the workers, or a signal came while there were none.
        WorkerFailed: a worker started here, or on another host, failed.
    """
    if processes.in_group():
        return worker(config)
    place = places.given_place()
    if place is not None:
        return _run_in_place(worker, config, place, settings)
    hosts = places.given_hosts() or _configured_hosts(settings)
    local = settings.processes if settings.processes != "auto" else max(1, torch.cuda.device_count())
    if hosts.count == local == 1:
        return worker(config)
    return _run_workers(worker, config, hosts, local, settings)


def _configured_hosts(settings: LaunchSettings) -> places.Hosts:
    if settings.nodes == 1:
        return places.Hosts(1, 0, "localhost", 0)
    if settings.rendezvous is None:
        raise LafsError(
            f"launch.nodes is {settings.nodes}, but launch.rendezvous is not set; give the host:port of one "
            "host, equal on all of them"
        )
    return places.Hosts(settings.nodes, settings.node_rank, *network.split_endpoint(settings.rendezvous))


def _run_in_place(worker: Callable, config: Any, place: places.Place, settings: LaunchSettings) -> Any:
    own = network.local_address(place.address)
    host, name = _host_name(own), f"lafs/{place.attempt}/{next(_launches)}"
    with _environment(_interfaces(own)):
        return _run_as_member(
            worker, config, place, name, host, settings.timeout_seconds, lambda verdict: None
        )


def _run_as_member(
    worker: Callable,
    config: Any,
    place: places.Place,
    name: str,
    host: str,
    timeout_seconds: float,
    on_hang: Callable[[str], None],
) -> Any:
    def connect() -> dist.Store:
        wait = timedelta(seconds=1.5 * timeout_seconds)
        return dist.PrefixStore(name, dist.TCPStore(place.address, place.port, is_master=False, timeout=wait))

    if place.rank == 0 and not place.served:
        _serve(place.address, place.port)
    stopped = None
    spot = (place.rank, place.size, place.local_rank)
    with processes.process_group(connect, spot, host, timeout_seconds, on_hang):
        try:
            result = worker(config)
        except Stopped as stop:
            stopped = stop
    if stopped is not None:
        raise stopped
    return result


@cache
def _serve(address: str, port: int) -> dist.Store:
    """The store of a group that no agent serves; it lasts as long as this process."""
    return dist.TCPStore(address, port, is_master=True, wait_for_workers=False)


def _run_workers(
    worker: Callable, config: Any, hosts: places.Hosts, local: int, settings: LaunchSettings
) -> Any:
    agent: WorkerAgent | None = None

    def stop(number: int) -> None:
        if agent is None or agent.waiting:
            raise Stopped(signal.Signals(number).name)
        agent.pass_on(number)

    def end(_: int) -> None:
        if agent is not None:
            agent.kill()

    own = network.local_address(hosts.address)
    with (
        tempfile.TemporaryDirectory(prefix="lafs-launch-") as folder,
        _environment(OWN_STORES | _threads(local) | _interfaces(own)),
        StopSignals(stop, end) as signals,
        rendezvous.meeting(hosts, own, settings.timeout_seconds) as meeting,
    ):
        if signals.requested:
            raise Stopped(signals.requested)
        # Through a file: a pipe to a worker that dies while it starts would fill up, and this process wait.
        job = Path(folder) / "job.pickle"
        job.write_bytes(pickle.dumps((worker, config)))
        spec = WorkerSpec(
            role="worker",
            local_world_size=local,
            rdzv_handler=meeting.handler,
            entrypoint=_run_worker,
            args=(job,),
            max_restarts=settings.max_restarts,
            monitor_interval=0.1,
        )
        group = Group(_host_name(own), Path(folder), settings.timeout_seconds, meeting.own_address)
        agent = WorkerAgent(spec, group, hosts)
        outcome = agent.outcome()
        meeting.lost = agent.lost
    if isinstance(outcome, Failure):
        raise LafsError(outcome.text) if outcome.kind == "refused" else WorkerFailed(outcome.text)
    result, stopped = pickle.loads(outcome)
    if stopped or signals.requested:
        raise Stopped(stopped or signals.requested)
    return result


def _run_worker(job: Path, group: Group) -> bytes:
    """What a process started by the agent runs; returns the pickled (result, reason of a stop)."""
    processes.leave_terminal_and_die_with_parent()
    place = replace(places.given_place(), address=group.address, port=group.port, served=True)
    report = group.failure_file(place.rank)
    try:
        StopSignals().__enter__()  # for the rest of this process
        release_signals()
        worker, config = pickle.loads(job.read_bytes())
        result = _run_as_member(
            worker,
            config,
            place,
            group.name,
            group.host,
            group.timeout_seconds,
            lambda verdict: write_failure(report, Failure("hang", verdict)),
        )
        return pickle.dumps((result if place.local_rank == 0 else None, None))
    except Stopped as stop:
        return pickle.dumps((None, stop.reason))
    except BaseException as error:
        where = f"rank {place.rank} on {group.host} (process {os.getpid()})"
        write_failure(report, failure_of(error, where))
        raise SystemExit(1) from None


def _host_name(own_address: str) -> str:
    """For messages: with the address where other hosts take part."""
    name = socket.gethostname()
    return name if network.is_loopback(own_address) else f"{name} ({own_address})"


def _threads(local: int) -> dict[str, str]:
    """Share the cores of this host among its processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // local))}


# torch's agents share the store of the first round with their workers, and an agent that joins later waits
# for its address for ever; ours open a store in every round.
OWN_STORES = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def _interfaces(own_address: str) -> dict[str, str]:
    """Name the interface that leads to the others; gloo would take the one that the host name resolves to."""
    name = network.interface_of(own_address)
    if name is None:
        return {}
    if network.is_loopback(own_address):
        return {"GLOO_SOCKET_IFNAME": name}
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for a while; processes started meanwhile inherit them."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
