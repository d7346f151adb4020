"""torch's elastic agent, with endings that can be told apart and are bounded in time."""

import json
import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch.distributed import DistError, TCPStore
from torch.distributed.elastic.agent.server.api import RunResult, Worker, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousTimeoutError

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.failures import Failure, read_failure, root_cause
from lafs_pipeline.runtime.places import Hosts
from lafs_pipeline.runtime.stop_signals import signals_held

logger = logging.getLogger(__name__)

GRACE = 6.0
"""Seconds that the other workers of a host have to end by themselves after one has failed."""
ANSWER = 20.0
"""Seconds that the other hosts have to say why they ended; longer than the grace."""
LISTEN_EVERY = 10
"""Polls (of 0.1 s) between looks at the other hosts."""


@dataclass(frozen=True)
class Group:
    """The group that a round of the rendezvous formed, as its workers need to know it.

    Attributes:
        address: host of the store of the group, new in every round and served by the agent of host 0.
        port: of that store.
        name: equal on all hosts and different in every round.
        host: name of this host in messages.
        folder: where workers of this host write why they failed.
        timeout_seconds: of the watchdog.
    """

    host: str
    folder: Path
    timeout_seconds: float
    address: str
    port: int = 0
    name: str = ""

    def failure_file(self, rank: int) -> Path:
        """Where the worker `rank` writes why it failed."""
        return self.folder / f"{self.name}-{rank}.json"


class WorkerAgent(LocalElasticAgent):
    """Starts, watches and restarts the workers of this host.

    The elastic agent of torch does all of that; this one replaces how a failure is handled. torch's would
    report the failure that it happens to see first, with pages of log, and would give hung processes 30 s
    twice. Here the workers that do not end by themselves are killed after a grace with all their
    descendants, the root cause is chosen among the reports of all workers of all hosts, and the hosts that do
    not report are named.
    """

    def __init__(self, spec: WorkerSpec, group: Group, hosts: Hosts) -> None:
        """Prepare an agent.

        Args:
            spec: what to run; its entry point receives the :class:`Group` as the last of its arguments.
            group: with the address of this host, and without port and name yet.
            hosts: this one among those that take part.
        """
        super().__init__(spec, DefaultLogsSpecs(str(group.folder)), exit_barrier_timeout=60)
        self._group, self._hosts, self._arguments = group, hosts, spec.args
        self._own_address, self._server = group.address, None
        self._processes: list[Process] = []
        self._names: list[str] = []
        self._where = f"{hosts.address}:{hosts.port}"
        self._node, self._polls = 0, 0
        self._signal: int | None = None
        self._failure: Failure | None = None
        self.waiting = True
        self.lost = False

    def outcome(self) -> Any:
        """Run to the end.

        Returns:
            What the first worker of this host returned, or the failure that ended the group.

        Raises:
            LafsError: when the hosts do not find each other.
        """
        try:
            result = self.run()
        except RendezvousTimeoutError as error:
            if self._failure is None:
                raise LafsError(
                    f"not all of {self._hosts.count} hosts came to the rendezvous {self._where} within "
                    f"{self._group.timeout_seconds:g} s; start the others and check that their settings agree"
                ) from error
            return self._failure
        except (RendezvousError, DistError):
            return self._failure or self._lost_rendezvous()
        if result is None or result.is_failed():
            return self._failure or Failure("lost", "another host ended the training; see its output")
        return result.return_values[min(result.return_values)]

    def pass_on(self, number: int) -> None:
        """Send a signal to the workers, those still to be started included; no worker is restarted then."""
        self._signal = number
        for worker in self._processes:
            if worker.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def kill(self) -> None:
        """Kill the workers and all that they started."""
        for worker in self._processes:
            worker.kill()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
        for worker in self._processes:
            worker.join(GRACE)

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        self._processes, self.waiting = [], True
        super()._rendezvous(worker_group)
        self.waiting = False

    def _assign_worker_ranks(self, store: Any, group_rank: int, count: int, spec: WorkerSpec) -> list[Worker]:
        self._node = group_rank if self._hosts.number is None else self._hosts.number
        store.set(f"lafs/number/{group_rank}", str(self._node))
        numbers = [int(number) for number in store.multi_get([f"lafs/number/{i}" for i in range(count)])]
        if sorted(numbers) != list(range(count)):
            raise LafsError(
                f"the {count} hosts have the node_rank {', '.join(map(str, numbers))}; give each its own, "
                "from 0 on, or none"
            )
        store.set(f"lafs/host/{self._node}", self._group.host)
        self._names = [name.decode() for name in store.multi_get([f"lafs/host/{i}" for i in range(count)])]
        if self._node == 0:
            self._server = TCPStore(self._own_address, 0, is_master=True, wait_for_workers=False)
            store.set("lafs/group", json.dumps([self._own_address, self._server.port, uuid4().hex]))
        address, port, name = json.loads(store.get("lafs/group"))
        self._group = replace(self._group, address=address, port=port, name=name)
        spec.args = (*self._arguments, self._group)
        return super()._assign_worker_ranks(store, self._node, count, spec)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        with signals_held():
            pids = super()._start_workers(worker_group)
            self._processes = list(self._pcontext._pc.processes)
        if self._signal is not None:
            self.pass_on(self._signal)
        return pids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._polls += 1
        blamed = set(range(len(self._processes)))
        listen = self._polls % LISTEN_EVERY == 0
        if not self._worker_failed() and not (listen and self._another_host_failed()):
            result = super()._monitor_workers(worker_group)
            if result.state != WorkerState.FAILED:
                return result
            # It failed just now, and torch has ended the others in its own way.
            blamed = {failure.local_rank for failure in result.failures.values()}
        own = root_cause(self._end_workers(blamed))
        self._failure = root_cause([*([own] if own else []), *self._ask_others(own)])
        if self._signal is not None or (self._failure and self._failure.kind == "refused"):
            self._remaining_restarts = 0
        if self._remaining_restarts and self._failure:
            logger.warning("restarting, %d left, after: %s", self._remaining_restarts, self._failure.text)
        return RunResult(state=WorkerState.FAILED)

    def _shutdown(self, *arguments: Any, **named: Any) -> None:
        self.kill()
        super()._shutdown(*arguments, **named)

    def _end_workers(self, blamed: set[int]) -> list[Failure]:
        """Why the workers failed that end by themselves within the grace; the others are killed.

        Args:
            blamed: local ranks whose end counts even if they have left no message.
        """
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and any(worker.exitcode is None for worker in self._processes):
            time.sleep(0.05)
        codes = [worker.exitcode for worker in self._processes]
        self.kill()
        failures = []
        for worker, process, code in zip(self._worker_group.workers, self._processes, codes, strict=True):
            where = f"rank {worker.global_rank} on {self._group.host} (process {process.pid})"
            written = read_failure(self._group.failure_file(worker.global_rank))
            if written is not None:
                failures.append(written)
            elif not code or worker.local_rank not in blamed:
                continue
            elif code < 0:
                # NCCL aborts a process whose peer is gone: an abort is no surer a cause than an exception.
                kind = "raised" if code == -signal.SIGABRT else "killed"
                hint = " (often the kernel's, out of memory)" if code == -signal.SIGKILL else ""
                failures.append(Failure(kind, f"{where} was killed by {signal.Signals(-code).name}{hint}"))
            else:
                text = f"{where} ended with exit status {code} and no message; see its output"
                failures.append(Failure("killed", text))
        return failures

    def _worker_failed(self) -> bool:
        # A worker's sentinel tells its end a little sooner than its exit code, and torch looks at sentinels.
        ended = wait([worker.sentinel for worker in self._processes], timeout=0)
        for worker in self._processes:
            if worker.sentinel in ended:
                worker.join(GRACE)
        return any(worker.exitcode for worker in self._processes)

    def _another_host_failed(self) -> bool:
        try:
            return len(self._names) > 1 and self._worker_group.store.check(["lafs/failed"])
        except RuntimeError:
            self.lost = True
            return True

    def _ask_others(self, own: Failure | None) -> list[Failure]:
        """Tell the other hosts why this one ended, and learn it from them."""
        if len(self._names) == 1:
            return []
        if self.lost:
            return [self._lost_rendezvous()]
        store, failures = self._worker_group.store, []
        silent = {number: name for number, name in enumerate(self._names) if number != self._node}
        try:
            store.set(f"lafs/failed/{self._node}", own.dumps() if own else "")
            store.set("lafs/failed", "")
            deadline = time.monotonic() + ANSWER
            while silent and time.monotonic() < deadline:
                for number in [number for number in silent if store.check([f"lafs/failed/{number}"])]:
                    del silent[number]
                    answer = store.get(f"lafs/failed/{number}").decode()
                    failures += [Failure.loads(answer)] if answer else []
                time.sleep(0.1)
        except RuntimeError:
            return [*failures, self._lost_rendezvous()]
        lost = [f"host {name} no longer answers: it ended or was cut off" for name in silent.values()]
        return failures + [Failure("lost", text) for text in lost]

    def _lost_rendezvous(self) -> Failure:
        self.lost = True
        text = f"the rendezvous {self._where} no longer answers: its host ended or was cut off"
        return Failure("lost", text)
