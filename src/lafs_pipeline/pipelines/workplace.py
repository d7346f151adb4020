"""Where and in how many processes a node trains."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from lafs_pipeline.training.jobs import Workplace


def workplace(name: str, checkpoints: str, seed: int, launch: dict[str, Any]) -> "Workplace":
    """The folder, processes and metric sinks of a training.

    Args:
        name: of the training: its folder, and the prefix of its metrics.
        checkpoints: folder of all trainings.
        seed: of every draw.
        launch: parameter group.
    """
    import mlflow

    from lafs_pipeline.pipelines.tracking import active_sinks
    from lafs_pipeline.runtime.launch_settings import LaunchSettings
    from lafs_pipeline.training.jobs import Workplace

    folder, run = Path(checkpoints) / name, mlflow.active_run()
    return Workplace(
        folder,
        seed,
        active_sinks(name, folder),
        parse(LaunchSettings, launch, "launch"),
        run_id=run.info.run_id if run else "",
    )
