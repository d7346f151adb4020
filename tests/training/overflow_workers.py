"""A training in fp16 whose class matrix is sharded, and whose gradients overflow in one process."""

from dataclasses import replace

import torch
from tests.training.small_trainings import SIZES, TRAINING

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.runtime import processes
from lafs_pipeline.training.sampling import part_rows
from lafs_pipeline.training.stage import Progress
from lafs_pipeline.training.step import Stepper
from lafs_pipeline.training.supervised import RecognitionSettings, RecognitionStage
from lafs_pipeline.views.supervised import AugmentationSettings

STEPS, OVERFLOW_AT, START = 4, 1, 2.0**8


class OverflowingStage(RecognitionStage):
    """Has an infinite gradient among the rows of the second process in one step."""

    def before_update(self, progress: Progress) -> None:
        if progress.step == OVERFLOW_AT and processes.rank() == 1:
            self.classes.head.weight.grad[0, 0] = torch.inf


def train_with_overflow(_: None) -> torch.Tensor:
    """Whether each step is skipped, the loss scale and the length of all common weights: (2, STEPS, 3)."""
    torch.manual_seed(0)
    options = RecognitionSettings(
        shard_classes=True, augmentation=AugmentationSettings(mixup_probability=0.0), scale=16.0
    )
    stage = OverflowingStage("adapt", PartFViT(**SIZES), 8, options, None, None)
    rows = part_rows(8, 2, processes.rank())
    training = replace(TRAINING, precision="fp16")
    stepper = Stepper(stage, training, 0, torch.device("cpu"), [rows], STEPS, STEPS)
    stepper.scaler = torch.amp.GradScaler("cpu", init_scale=START)
    stepper.wrap_ddp()
    found = []
    for step in range(STEPS):
        images = torch.randint(256, (8, 112, 112, 3), generator=torch.Generator().manual_seed(step))
        batch = {"image": images[rows].to(torch.uint8), "label": torch.arange(8)[rows]}
        metrics = stepper([batch], Progress(step, STEPS, STEPS))
        length = sum(weight.double().norm() for weight in stage.trained.parameters())
        found.append([float(metrics["skipped"]), stepper.scaler.get_scale(), float(length)])
    return processes.gather_rows(torch.tensor(found, dtype=torch.float64)).unflatten(0, (2, STEPS))
