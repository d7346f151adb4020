"""How long training stands still for a checkpoint of a full-size pretraining, beside one of its steps.

    python -m benchmarks.checkpoint [--json]

Student and teacher (base size, 65,536 prototypes), the center and AdamW's state after real steps of 8 random
images are written to a temporary folder. `pause_seconds` is how long `CheckpointWriter.save` takes,
`write_seconds` how long it then writes in the background: medians of three. `first_pause_seconds`, which
allocates the memory that the tensors are copied to, and the first step are not among them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter
from lafs_pipeline.training.self_supervised import PretrainSettings, SelfSupervisedStage
from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.training.step import autocast

BATCH, STEPS, SAVES, TOTAL = 8, 3, 3, 100


def seconds(device: torch.device, work: Callable[[], None]) -> float:
    """How long work takes on CPU and GPU together."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class Training:
    def __init__(self, device: torch.device) -> None:
        options = PretrainSettings(prototypes=65_536, freeze_last_layer_epochs=0)
        model = build_model("part_fvit_base_patch8_112", {})
        self.device, self.step = device, 0
        self.stage = SelfSupervisedStage(model, options, TOTAL, TOTAL, probe=None)
        self.stage.modules.to(device).train()
        self.optimizer = torch.optim.AdamW(self.stage.parameter_groups(), lr=1e-4, fused=True)
        views = {"global": options.views.global_views, "local": options.views.local_views}
        views |= {f"{name}_clean": count for name, count in views.items()}
        self.batch = {
            name: torch.randint(256, (BATCH, count, 112, 112, 3), dtype=torch.uint8, device=device)
            for name, count in views.items()
        }

    def take_step(self) -> None:
        progress = Progress(self.step, TOTAL, TOTAL)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, "auto"):
            for loss, _ in self.stage.losses(self.batch, MicroBatch(progress, 0, np.arange(BATCH), BATCH)):
                loss.backward()
        self.optimizer.step()
        self.stage.after_update(progress)
        self.step += 1

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.step, self.stage.modules.state_dict(), self.optimizer.state_dict(), {})


def measure(folder: Path) -> dict[str, float]:
    training = Training(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    steps = [seconds(training.device, training.take_step) for _ in range(1 + STEPS)]
    pauses, writes = [], []
    with CheckpointWriter(folder, keep=1) as writer:
        for _ in range(1 + SAVES):
            pauses.append(seconds(training.device, lambda: writer.save(training.checkpoint())))
            writes.append(seconds(training.device, writer.drain))
            training.step += 1
    return {
        "pause_seconds": median(pauses[1:]),
        "first_pause_seconds": pauses[0],
        "step_seconds": median(steps[1:]),
        "write_seconds": median(writes[1:]),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = {key: round(value, 4) for key, value in measure(Path(name)).items()}
    for key, value in figures.items():
        print(f"{key:22}{value:>16,}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
