"""This process among those that run one training: names over `torch.distributed` that also hold alone."""

import ctypes
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lafs_pipeline.runtime.watchdog import Watchdog

PR_SET_PDEATHSIG = 1
_local_rank = 0


def in_group() -> bool:
    """Whether this process is one of a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process in its group; 0 alone."""
    return dist.get_rank() if in_group() else 0


def world_size() -> int:
    """Number of processes of the group; 1 alone."""
    return dist.get_world_size() if in_group() else 1


def local_rank() -> int:
    """Number of this process on its host; 0 alone."""
    return _local_rank if in_group() else 0


def is_main() -> bool:
    """Whether this process writes what is written once: rank 0."""
    return rank() == 0


def local_device() -> torch.device:
    """The GPU of this process, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank() % torch.cuda.device_count())


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Replace a tensor by its mean over all processes, in place, and return it."""
    if in_group():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
    return tensor


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (n, ...) of every process, (n * processes, ...) in the order of ranks; no gradient."""
    if not in_group():
        return rows
    places = rows.new_zeros(dist.get_world_size(), *rows.shape)
    places[dist.get_rank()] = rows
    # A sum with zeros, because gloo gathers no GPU tensors.
    dist.all_reduce(places)
    return places.flatten(0, 1)


def broadcast_object(value: Any, source: int = 0) -> Any:
    """The picklable value that the process `source` gave; the other processes' values are not looked at."""
    if not in_group():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=source, device=torch.device("cpu"))
    return values[0]


def barrier() -> None:
    """Wait until every process is here."""
    if in_group():
        dist.all_reduce(torch.zeros(1))


def agree_on_stop(reason: str | None) -> str | None:
    """The reason of the lowest rank that has one, on every rank; None where no rank has one.

    Every process must ask at the same place: signals reach them at different moments.
    """
    if not in_group():
        return reason
    size = dist.get_world_size()
    vote = torch.tensor([size - dist.get_rank() if reason else 0])
    dist.all_reduce(vote, dist.ReduceOp.MAX)
    return broadcast_object(reason, size - int(vote)) if int(vote) else None


@contextmanager
def process_group(
    connect: Callable[[], dist.Store],
    place: tuple[int, int, int],
    host: str,
    timeout_seconds: float,
    on_hang: Callable[[str], None],
) -> Iterator[None]:
    """Be one of a process group, with a watchdog.

    CPU tensors go through gloo; GPU tensors through NCCL where every process has a GPU of its own, through
    gloo otherwise. After an exception the group is left as it is: the process is expected to end.

    Args:
        connect: opens one more connection to the store of the group, which must be empty.
        place: rank, number of processes, and rank on this host.
        host: name of this host.
        timeout_seconds: of the watchdog. Collectives have ten times as long: what one process does alone may
            take long as long as it tells its progress.
        on_hang: is called with the watchdog's verdict before it ends this process.
    """
    global _local_rank
    own_rank, size, _local_rank = place
    store = connect()
    watched = Watchdog(
        dist.PrefixStore("watchdog", connect()), own_rank, size, host, timeout_seconds, on_hang
    )
    with watched:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if _have_own_gpus(store, own_rank, size, host) else "gloo",
            store=dist.PrefixStore("group", store),
            rank=own_rank,
            world_size=size,
            timeout=timedelta(seconds=10 * timeout_seconds),
        )
        yield
        barrier()
    dist.destroy_process_group()


def leave_terminal_and_die_with_parent() -> None:
    """Make a process that multiprocessing has just started independent of Ctrl-C and tied to its parent.

    It leads a process group of its own, with which its descendants can be killed, and whose signals come from
    the parent alone. The kernel kills it when the parent ends, however that ends (Linux).
    """
    os.setsid()
    die_with_parent()
    if os.getppid() != multiprocessing.parent_process().pid:
        os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _have_own_gpus(store: dist.Store, own_rank: int, size: int, host: str) -> bool:
    """Choose this process's GPU and learn whether no two processes share one; the same answer on all."""
    gpu = ""
    if torch.cuda.is_available() and dist.is_nccl_available():
        torch.cuda.set_device(_local_rank % torch.cuda.device_count())
        gpu = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    store.set(f"gpu/{own_rank}", json.dumps([host, gpu]))
    gpus = [json.loads(value) for value in store.multi_get([f"gpu/{number}" for number in range(size)])]
    return all(uuid for _, uuid in gpus) and len({tuple(pair) for pair in gpus}) == size
