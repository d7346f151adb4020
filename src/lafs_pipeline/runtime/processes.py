"""This process among those that run one training: names over `torch.distributed` that also hold alone."""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from lafs_pipeline.runtime.launch_settings import Ranks

PR_SET_PDEATHSIG = 1
_local_rank = 0
_groups = count()


def in_group() -> bool:
    """Whether this process is one of a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process in its group; 0 alone."""
    return dist.get_rank() if in_group() else 0


def world_size() -> int:
    """Number of processes of the group; 1 alone."""
    return dist.get_world_size() if in_group() else 1


def is_main() -> bool:
    """Whether this process writes what is written once: rank 0."""
    return rank() == 0


def local_device() -> torch.device:
    """The GPU of this process, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Read when CUDA is first used; without it cuBLAS does not repeat bit for bit.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", (_local_rank if in_group() else 0) % torch.cuda.device_count())


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
def process_group(ranks: Ranks, given: Ranks, timeout_seconds: float) -> Iterator[None]:
    """Be one of a process group, whose store lies at MASTER_ADDR and MASTER_PORT.

    CPU tensors go through gloo; GPU tensors through NCCL where every process has a GPU of its own, through
    gloo otherwise. After an exception the group is left as it is: the process is expected to end.

    Args:
        ranks: this process in the group.
        given: this process as torchrun or srun numbers it; number 0 serves the store.
        timeout_seconds: how long a collective waits for the other processes.
    """
    global _local_rank
    _local_rank, timeout = ranks.local_rank, timedelta(seconds=timeout_seconds)
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT") if shared else None
    store = dist.PrefixStore(f"lafs/{attempt}/{next(_groups)}", _given_store(given, timeout))
    backend = "cpu:gloo,cuda:nccl" if _have_own_gpus(store, ranks) else "gloo"
    store = dist.PrefixStore("group", store)
    dist.init_process_group(backend, None, timeout, ranks.size, ranks.rank, store)
    yield
    barrier()
    dist.destroy_process_group()


@cache
def _given_store(given: Ranks, timeout: timedelta) -> dist.Store:
    """Lasts as long as this process, so that one group can follow another."""
    return next(rendezvous("env://", given.rank, given.size, timeout=timeout))[0]


def _have_own_gpus(store: dist.Store, ranks: Ranks) -> bool:
    """Choose this process's GPU and learn whether no two processes share one; the same answer on all."""
    gpu = ""
    if torch.cuda.is_available() and dist.is_nccl_available():
        torch.cuda.set_device(ranks.local_rank % torch.cuda.device_count())
        gpu = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    store.set(f"gpu/{ranks.rank}", gpu)
    gpus = set(store.multi_get([f"gpu/{number}" for number in range(ranks.size)]))
    return b"" not in gpus and len(gpus) == ranks.size


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != multiprocessing.parent_process().pid:
        os.kill(os.getpid(), signal.SIGKILL)


def loading(workers: int) -> dict[str, Any]:
    """Options of a DataLoader whose processes, so many, end with this one, neither before nor after it."""
    on_linux = workers > 0 and sys.platform == "linux"
    return {
        "num_workers": workers,
        "worker_init_fn": _belong_to_parent,
        "multiprocessing_context": "fork" if on_linux else None,
    }


def _belong_to_parent(_worker: int) -> None:
    """The first SIGTERM may be one to all processes of a job; what ends a loader sends another."""
    die_with_parent()
    gc.freeze()  # or a collection would write into all that is shared with the parent
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
