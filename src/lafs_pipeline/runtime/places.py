"""Where a process was put by torchrun or SLURM."""

import os
import re
from dataclasses import dataclass

from lafs_pipeline.runtime.errors import LafsError

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """A place in a group whose processes all run already.

    Attributes:
        address: host of the group's store.
        port: of the group's store.
        served: whether an agent serves the store; otherwise rank 0 does.
        attempt: how often the group was restarted.
    """

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    served: bool = False
    attempt: str = "0"


@dataclass(frozen=True)
class Hosts:
    """This host among those that run a training together.

    Attributes:
        number: of this host, from 0; None leaves the order to the rendezvous.
        address: host of the rendezvous.
        port: of the rendezvous.
    """

    count: int
    number: int | None
    address: str
    port: int


def given_place() -> Place | None:
    """The place that torchrun, or srun with several tasks a node, has given this process; None outside."""
    environment = os.environ
    if all(name in environment for name in TORCHRUN):
        return Place(
            _number("RANK"),
            _number("WORLD_SIZE"),
            _number("LOCAL_RANK"),
            environment["MASTER_ADDR"],
            _number("MASTER_PORT"),
            environment.get("TORCHELASTIC_USE_AGENT_STORE") == str(True),
            environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )
    tasks, nodes = _slurm_step()
    if tasks == 1 or tasks == nodes:
        return None
    return Place(_number("SLURM_PROCID"), tasks, _number("SLURM_LOCALID"), *_slurm_store())


def given_hosts() -> Hosts | None:
    """The hosts of a SLURM step with one task on each of several nodes; None outside of one."""
    tasks, nodes = _slurm_step()
    if tasks == 1 or tasks != nodes:
        return None
    return Hosts(nodes, _number("SLURM_NODEID"), *_slurm_store())


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list: `gpu03` of `gpu[03-05,7],login1`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0]) if first else ""


def _slurm_step() -> tuple[int, int]:
    """Tasks and nodes of the job step this process is a task of; (1, 1) outside of one.

    Only srun sets the variables of the step. SLURM_NTASKS and SLURM_NNODES describe the job: they are set in
    a batch script as well, whose one process must not wait for tasks that nobody starts.
    """
    if "SLURM_STEP_NUM_TASKS" not in os.environ:
        return 1, 1
    return _number("SLURM_STEP_NUM_TASKS"), _number("SLURM_STEP_NUM_NODES")


def _slurm_store() -> tuple[str, int]:
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")
    address = os.environ.get("MASTER_ADDR") or first_host(nodes)
    if not address:
        raise LafsError(f"SLURM_STEP_NODELIST is {nodes!r}; start with srun, or set MASTER_ADDR")
    if "MASTER_PORT" in os.environ:
        return address, _number("MASTER_PORT")
    return address, 10000 + (_number("SLURM_JOB_ID") * 7 + _number("SLURM_STEP_ID")) % 20000


def _number(name: str) -> int:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError) as error:
        raise LafsError(
            f"environment variable {name} is {os.environ.get(name)!r}; torchrun and srun set it to a "
            "whole number"
        ) from error
