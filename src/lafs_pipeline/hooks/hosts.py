"""Which of the processes that run a pipeline together keeps the MLflow run."""

from typing import Any

from lafs_pipeline.runtime import network, places


def is_first(launch: dict[str, Any]) -> bool:
    """Whether this process is the first one on the first host.

    What torchrun or SLURM have set decides, and else the parameters: the host with number 0, or where no
    numbers are given the one that has the address of the rendezvous.

    Args:
        launch: parameter group, not yet checked.

    Raises:
        LafsError: when a variable of torchrun or SLURM, or the address, makes no sense.
    """
    place = places.given_place()
    if place is not None:
        return place.rank == 0
    hosts = places.given_hosts()
    number = hosts.number if hosts is not None else launch.get("node_rank")
    if number is None and launch.get("nodes", 1) != 1 and launch.get("rendezvous"):
        return network.is_local(network.split_endpoint(str(launch["rendezvous"]))[0])
    return not number
