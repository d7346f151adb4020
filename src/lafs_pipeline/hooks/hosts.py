"""Which of the processes that run a pipeline together keeps the MLflow run."""

from typing import Any

from lafs_pipeline.runtime.launch_settings import given_ranks


def is_first(launch: dict[str, Any]) -> bool:
    """Whether this process is rank 0 of torchrun or srun, or elsewhere that of `launch.node_rank` 0."""
    given = given_ranks()
    return not launch.get("node_rank") if given is None else given.rank == 0
