"""Where and in how many processes a node trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from lafs_pipeline.training.jobs import RunContext


def run_context(name: str, checkpoints: str, seed: int, launch: dict[str, Any]) -> "RunContext":
    """The folder, processes and metric loggers of a training."""
    from lafs_pipeline.runtime.launch_settings import LaunchSettings
    from lafs_pipeline.tracking.metric_logger import active_loggers, active_run_id
    from lafs_pipeline.training.jobs import RunContext

    return RunContext(
        Path(checkpoints) / name,
        seed,
        active_loggers(name),
        parse(LaunchSettings, launch, "launch"),
        run_id=active_run_id(),
    )
