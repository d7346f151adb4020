"""How a training is spread over processes and hosts: by the parameters, or by torchrun or srun."""

import os
import re
from dataclasses import dataclass
from typing import Literal

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings

TORCHRUN, SRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
ADDRESS = {
    "MASTER_ADDR": 'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    "MASTER_PORT": "export MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000))",
}
"""What torchrun sets and srun does not, with the line that does it in a batch script."""


@settings
class LaunchSettings:
    """In how many processes, on how many hosts. Under torchrun or srun these decide instead."""

    processes: int | Literal["auto"] = setting(
        "processes on each host; auto is one for each GPU, or fewer where the batch cannot be shared so",
        "auto",
    )
    nodes: int = setting("hosts", 1, ge=1)
    node_rank: int | None = setting("number of this host, of which 0 has the rendezvous", None, ge=0)
    rendezvous: str | None = setting("host:port of host 0, at which several hosts meet", None)
    max_restarts: int = setting("how often workers are started anew after a failure", 0, ge=0)
    timeout_seconds: float = setting(
        "seconds that processes wait for each other; longer than the longest probe takes", 1800.0, gt=0
    )

    def __post_init__(self):
        if self.processes != "auto" and self.processes < 1:
            raise LafsError(f"processes is {self.processes}; give at least 1, or auto")
        if self.node_rank is not None and self.node_rank >= self.nodes:
            raise LafsError(f"node_rank is {self.node_rank}; the {self.nodes} nodes are numbered from 0")
        if self.nodes > 1 and self.node_rank is None:
            raise LafsError(f"launch.nodes is {self.nodes}: set launch.node_rank on every host, from 0 on")
        if self.nodes > 1 and not re.fullmatch(r"[\w.:-]+:\d{1,5}", self.rendezvous or ""):
            raise LafsError(
                f"launch.nodes is {self.nodes} and launch.rendezvous {self.rendezvous!r}; give host:port of "
                "the host with node_rank 0, equal on all"
            )


@dataclass(frozen=True)
class Ranks:
    """A process among all that run a training, and among those of its host."""

    rank: int
    size: int
    local_rank: int


def given_ranks() -> Ranks | None:
    """What torchrun, or srun with several tasks, has made of this process; None outside of both.

    Raises:
        LafsError: a variable is missing or no whole number.
    """
    torchrun = all(name in os.environ for name in (*TORCHRUN, *ADDRESS))
    # SLURM_NTASKS is set in a batch script as well, whose process must not wait for others.
    if not torchrun and os.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return None
    for name, line in ADDRESS.items():
        if not os.environ.get(name):
            raise LafsError(f"srun has started several tasks, but {name} is not set; put before srun: {line}")
    names = TORCHRUN if torchrun else SRUN
    try:
        return Ranks(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in names)
        raise LafsError(f"these must be whole numbers, as torchrun or srun set them: {given}") from error
