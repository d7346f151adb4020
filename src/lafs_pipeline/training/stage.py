"""What the training loop asks of a stage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

Losses = Iterator[tuple[Tensor, dict[str, Tensor | float]]]
"""Losses that sum to the mean loss of a micro-batch, each with scalar metrics."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands: `step` of `total_steps`, counted from 0."""

    step: int
    total_steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """The epoch the step belongs to, counted from 0."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """The done part of the training, in [0, 1)."""
        return self.step / self.total_steps


@dataclass(frozen=True)
class MicroBatch:
    """What one process computes at once of a step's batch.

    Draws that belong to a sample are made from `seed` for the whole batch and taken at `rows`, so that they
    do not depend on how many processes and micro-batches share the step.

    Attributes:
        progress: the step.
        seed: of the step, equal in all processes.
        rows: places of its samples in the whole batch.
        batch_size: samples of the whole batch.
    """

    progress: Progress
    seed: int
    rows: np.ndarray
    batch_size: int


class Stage(Protocol):
    """Something to train: modules, the losses of a batch, and what happens after a step.

    Attributes:
        name: as it appears in progress, logs and folders.
        modules: everything that a checkpoint holds.
        frozen: what is read beside them and never changes; it is moved to the device once.
        trained: the module, among those, whose parameters all processes have and get the same gradients for.
        call: `trained`, or what stands for it when several processes train it; losses go through it.
        losses_per_micro_batch: how many losses a micro-batch has.
    """

    name: str
    modules: nn.ModuleDict
    frozen: nn.ModuleDict
    trained: nn.Module
    call: Callable[..., Any]
    losses_per_micro_batch: int

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups with `params`, `names`, `weight_decay` and `lr_scale`."""

    def compile(self) -> None:
        """Compile what computes a step."""

    def operations(self) -> float:
        """Floating-point operations that a step takes for one image; a backward pass is two forward."""

    def losses(self, batch: dict[str, Tensor], part: MicroBatch) -> Losses:
        """Losses that sum to the mean loss of a micro-batch, with its scalar metrics.

        Each loss is differentiated before the next is asked for, so that activations of one lie in memory
        at a time.
        """

    def before_update(self, progress: Progress) -> None:
        """Runs between backward and the optimizer's step."""

    def after_update(self, progress: Progress) -> None:
        """Runs after the optimizer's step."""

    def probe(self) -> dict[str, float]:
        """Metrics that are too dear for every step."""

    def pictures(self, progress: Progress) -> dict[str, np.ndarray]:
        """What shows people how the training goes, drawn after a probe: (H, W, 3) uint8 RGB by name."""

    def diagnose(self, metrics: dict[str, float], progress: Progress) -> str | None:
        """What logged metrics say is going wrong, and after a colon what to change; that is shown once."""
