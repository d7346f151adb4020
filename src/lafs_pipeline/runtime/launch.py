"""Running a worker in one process or many, on one host or several: a thin shell over TorchElastic."""

import io
import logging
import mmap
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.errors import LafsError, Stopped, WorkerFailed
from lafs_pipeline.runtime.launch_settings import LaunchSettings, Ranks, given_ranks
from lafs_pipeline.runtime.stop_signals import STOP_SIGNALS, StopSignals

logger = logging.getLogger(__name__)
Config = TypeVar("Config")
Result = TypeVar("Result")
ELASTIC = "torch.distributed.elastic."
LOUD = ("agent.server.api", "multiprocessing.api", "rendezvous.dynamic_rendezvous")
TORCH_LOGGERS = ("torch.multiprocessing.spawn", *(ELASTIC + name for name in LOUD))


def launch(worker: Callable[[Config], Result], config: Config, settings: LaunchSettings) -> Result:
    """Run `worker(config)` in every process of a group and return the result of this host's first.

    One process on one host runs it in place, as do those that torchrun, srun or another launch has started.
    Otherwise TorchElastic starts workers here, which meet those of the other hosts at `settings.rendezvous`.

    After the first SIGTERM, SIGINT or SIGUSR1 `StopSignals.requested` names it in all workers; a second one
    kills them and ends this process. Workers never outlive this process.

    Args:
        worker: a function of a module, so that other processes can import it; its result must be small.
        config: what it gets; must be picklable.
        settings: how it is run.

    Raises:
        LafsError: raised by a worker, or the hosts do not find each other.
        Stopped: raised by the workers, or a signal came while other hosts were waited for.
        WorkerFailed: a worker of this host raised something else or was killed.
    """
    if processes.in_group():
        return worker(config)
    given = given_ranks()
    if given is not None:
        return _run_as_member(worker, config, given, given, settings.timeout_seconds)
    local = settings.processes if settings.processes != "auto" else max(1, torch.cuda.device_count())
    if settings.nodes == local == 1:
        return worker(config)
    with TemporaryDirectory(prefix="lafs-launch-") as name, StopSignals() as signals:
        folder = Path(name)
        # Through a file: torch replaces macros in what it passes on.
        with (folder / "job").open("wb") as stream:
            _JobPickler(stream, folder).dump((worker, config, settings))
        outcome = _outcome(local, settings, folder, signals)
        if (folder / "refused").exists() and (settings.nodes == 1 or isinstance(outcome, Exception)):
            raise LafsError((folder / "refused").read_text())
    if isinstance(outcome, ChildFailedError):
        raise WorkerFailed(_describe(outcome, local, settings.node_rank or 0)) from None
    if settings.nodes > 1 and isinstance(outcome, RendezvousError | DistError | OSError | OverflowError):
        raise LafsError(
            f"the {settings.nodes} hosts do not meet at {settings.rendezvous}, or one was lost "
            f"({type(outcome).__name__}: {outcome.__cause__ or outcome}); run the same command on each, "
            "with launch.node_rank 0 on the one that has this address, where the port must be free"
        ) from outcome
    if isinstance(outcome, Exception):
        raise outcome
    result, stopped = pickle.loads(outcome[min(outcome)])
    if stopped or signals.requested:
        raise Stopped(stopped or signals.requested)
    return result


class _JobPickler(pickle.Pickler):
    """Leaves tables and mapped arrays in files, which all workers map instead of holding a copy each."""

    def __init__(self, stream: io.BufferedWriter, folder: Path) -> None:
        super().__init__(stream)
        self._folder, self._tables = folder, 0

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap):
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        if not isinstance(value, pd.DataFrame):
            return NotImplemented
        path, self._tables = self._folder / f"table{self._tables}.arrow", self._tables + 1
        table = pa.Table.from_pandas(value).combine_chunks()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return _mapped_table, (str(path),)


def _mapped_table(path: str) -> pd.DataFrame:
    return pa.ipc.open_file(pa.memory_map(path)).read_all().to_pandas(split_blocks=True)


def _run_as_member(worker: Callable, config: Any, ranks: Ranks, given: Ranks, timeout_seconds: float) -> Any:
    with processes.process_group(ranks, given, timeout_seconds):
        try:
            return worker(config)
        except Stopped as stop:
            stopped = stop
    raise stopped


def _outcome(
    local: int, settings: LaunchSettings, folder: Path, signals: StopSignals
) -> dict[int, bytes] | Exception:
    """What the workers returned, or why nothing; TorchElastic in a thread leaves the signals to this one."""
    outcomes: list[dict[int, bytes] | Exception] = []

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # in workers as well, until StopSignals opens
        try:
            outcomes.append(elastic_launch(_launch_config(local, settings, folder), _run_worker)(str(folder)))
        except Exception as error:
            outcomes.append(error)

    resource_tracker.ensure_running()  # its start releases signals that are held back
    agent = threading.Thread(target=run, daemon=True)
    with _Report(settings.max_restarts, folder / "refused"):
        agent.start()
        try:
            while agent.is_alive():
                agent.join(0.1)
                if signals.requested and not (folder / "stop").exists():
                    (folder / "stop").write_text(signals.requested)
                if signals.requested and settings.nodes > 1 and not multiprocessing.active_children():
                    return Stopped(signals.requested)
        except BaseException:  # a second signal
            for _ in range(100):
                for child in multiprocessing.active_children():
                    child.kill()
                agent.join(0.1)
                if not agent.is_alive():
                    break
            raise
    return outcomes[0]


def _launch_config(local: int, settings: LaunchSettings, folder: Path) -> LaunchConfig:
    endpoint, address = "localhost:0", "localhost"
    if settings.nodes > 1:
        host, _, port = settings.rendezvous.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))
            endpoint, address = settings.rendezvous, probe.getsockname()[0]
    # Otherwise a host that comes back would wait for the store of the round that it has missed.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    seconds = max(1, round(settings.timeout_seconds))
    return LaunchConfig(
        min_nodes=settings.nodes,
        max_nodes=settings.nodes,
        nproc_per_node=local,
        run_id="lafs",
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"is_host": not settings.node_rank, "join_timeout": seconds, "read_timeout": seconds},
        max_restarts=settings.max_restarts,
        monitor_interval=0.1,
        local_addr=address,
        logs_specs=DefaultLogsSpecs(str(folder)),
    )


def _run_worker(folder: str) -> bytes:
    """What a process of TorchElastic runs; returns the pickled (result, reason of a stop)."""
    processes.die_with_parent()
    refused, StopSignals.file = Path(folder, "refused"), Path(folder, "stop")
    worker, config, settings = pickle.loads(Path(folder, "job").read_bytes())
    if settings.nodes == 1 and refused.exists():  # what was refused is not tried again
        return pickle.dumps((None, None))
    given, local = given_ranks(), int(os.environ["LOCAL_WORLD_SIZE"])
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // local))
    ranks = replace(given, rank=(settings.node_rank or 0) * local + given.local_rank)
    try:
        if given.size != settings.nodes * local:
            raise LafsError(
                f"launch.processes is {local} here, not on all hosts; set it to one number on all"
            )
        result = _run_as_member(worker, config, ranks, given, settings.timeout_seconds)
        return pickle.dumps((result if given.local_rank == 0 else None, None))
    except Stopped as stop:
        return pickle.dumps((None, stop.reason))
    except LafsError as error:
        with suppress(FileExistsError), refused.open("x") as stream:
            stream.write(str(error))
        raise
    except RuntimeError:
        time.sleep(1)  # a rank that lost another must not be found before the one that it lost
        raise


def _describe(failed: ChildFailedError, local: int, node_rank: int) -> str:
    _, failure = failed.get_first_failure()
    rank = node_rank * local + failure.local_rank
    where = f"rank {rank} on {socket.gethostname()} (process {failure.pid})"
    if isinstance(failure.message, dict):
        return f"{where} failed:\n{failure.message['extraInfo']['py_callstack'].rstrip()}"
    if failure.exitcode >= 0:
        return f"{where} ended with exit status {failure.exitcode} and no message; see its output"
    hint = {"SIGKILL": " (often the kernel's, out of memory)", "SIGABRT": "; see what it wrote before"}
    return f"{where} was killed by {failure.signal_name()}{hint.get(failure.signal_name(), '')}"


class _Report(logging.Filter):
    """While open, shows a line for each restart in place of torch's pages; the last failure is raised."""

    def __init__(self, restarts: int, refused: Path) -> None:
        super().__init__()
        self._left, self._refused = restarts, refused

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        failed = isinstance(error, ProcessExitedException | ProcessRaisedException)
        if failed and self._left and not self._refused.exists():
            self._left -= 1
            logger.warning("restarting, %d left, after: %s", self._left, str(error).strip())
        return False

    def __enter__(self) -> None:
        for name in TORCH_LOGGERS:
            logging.getLogger(name).addFilter(self)

    def __exit__(self, *_: object) -> None:
        for name in TORCH_LOGGERS:
            logging.getLogger(name).removeFilter(self)
