"""How a training is spread over processes and hosts."""

from typing import Literal

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings


@settings
class LaunchSettings:
    """In how many processes, on how many hosts. Inside torchrun or a SLURM step these decide instead."""

    processes: int | Literal["auto"] = setting("processes on each host; auto is one for each GPU", "auto")
    nodes: int = setting("hosts", 1, ge=1)
    node_rank: int | None = setting(
        "number of this host, of which 0 has the rendezvous; null leaves it to the hosts", None, ge=0
    )
    rendezvous: str | None = setting("host:port at which several hosts meet, equal on all", None)
    max_restarts: int = setting("how often workers are started anew after a failure", 0, ge=0)
    timeout_seconds: float = setting(
        "seconds without any progress, or without an answer of a process or host, that end a training",
        1800.0,
        gt=0,
    )

    def __post_init__(self):
        if self.processes != "auto" and self.processes < 1:
            raise LafsError(f"processes is {self.processes}; give at least 1, or auto")
        if self.node_rank is not None and self.node_rank >= self.nodes:
            raise LafsError(f"node_rank is {self.node_rank}; the {self.nodes} nodes are numbered from 0")
