"""What the training loop asks of a stage."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


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


class Stage(Protocol):
    """Something to train: modules, a loss of a batch, and what happens after a step."""

    name: str
    modules: nn.ModuleDict

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups with `params`, `names`, `weight_decay` and `lr_scale`."""

    def loss(
        self, batch: dict[str, Tensor], progress: Progress, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch on the training device, and scalar metrics; draws come from `seed`."""

    def before_update(self, progress: Progress) -> None:
        """Runs between backward and the optimiser's step."""

    def after_update(self, progress: Progress) -> None:
        """Runs after the optimiser's step."""

    def probe(self) -> dict[str, float]:
        """Metrics that are too dear for every step."""
