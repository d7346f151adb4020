"""A program that runs one of the trainings that are going to be killed.

    python -m tests.chaos.training <data> <folder> <configuration>

The last line that it prints is a JSON object: what the training ended with.
"""

import json
import logging
import sys
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
from tests.training.small_trainings import SEED, STAGES, SlowLogger, SmallTraining

from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.training.jobs import RunContext

MANIFEST = "manifest.parquet"
SECONDS_A_STEP = 0.05
TIMEOUT_SECONDS = 60.0
RANKS = ("rank 0", "rank 1")

# Here and not in main, so that workers, which import this file, log as well.
logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")


@dataclass(frozen=True)
class Configuration:
    """A stage, in how many processes, and how often these are restarted within one launch."""

    stage: str
    processes: int
    restarts: int = 0

    @property
    def name(self) -> str:
        return f"{self.stage}-{self.processes}" + (f"-restarts-{self.restarts}" if self.restarts else "")

    def targets(self, kills: int) -> list[str]:
        """Who is killed, one after the other."""
        if self.restarts:
            return ["rank 0", "rank 1"]
        everyone = (
            ["parent", "write", "loader"] if self.processes == 1 else ["parent", *RANKS, "write", "loader"]
        )
        return list(islice(cycle(everyone), kills))

    def training(self, data: Path) -> SmallTraining:
        """Frequent checkpoints, probes and milestones, a loader, and accumulation in one stage."""
        return SmallTraining(
            self.stage,
            pd.read_parquet(data / MANIFEST),
            {
                "epochs": 6,
                "checkpoint_every": 1,
                "probe_every": 2,
                "milestone_every": 20,
                "workers": 1,
                "accumulation": 2 if self.stage == "pretrain" else 1,
            },
            probe_images=12,
        )

    def place(self, folder: Path) -> RunContext:
        """Where it runs, in so many processes."""
        launch = LaunchSettings(
            processes=self.processes, max_restarts=self.restarts, timeout_seconds=TIMEOUT_SECONDS
        )
        return RunContext(folder, SEED, (SlowLogger(SECONDS_A_STEP),), launch)


CONFIGURATIONS = {
    configuration.name: configuration
    for configuration in (
        *(Configuration(stage, 1) for stage in STAGES),
        *(Configuration(stage, 2) for stage in STAGES),
        Configuration("adapt", 2, 1),
    )
}


def main(data: str, folder: str, name: str) -> int:
    configuration = CONFIGURATIONS[name]
    try:
        configuration.training(Path(data)).run(configuration.place(Path(folder)))
    except Exception as error:
        print(json.dumps({"outcome": type(error).__name__, "message": str(error)}), flush=True)
        return 1
    print(json.dumps({"outcome": "finished", "message": ""}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
