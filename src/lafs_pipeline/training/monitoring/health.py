"""Numerical health: steps that were skipped, and what an ill training looks like."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.host_copy import HostCopy

logger = logging.getLogger(__name__)

LOW_ENTROPY, HIGH_ENTROPY = 0.02, 0.995
"""Shares of log K beyond which a teacher is about to collapse."""
UNIFORM_AFTER = 0.2
"""Share of the training after which a teacher near the uniform distribution is no beginner any more."""
LOW_SPREAD = 0.1
"""Spread of the embeddings below which they have nearly become one."""
FRESH_STEPS = 50
"""In which neither a small spread nor, as the center starts at zero, a low entropy says anything yet."""


class SkippedSteps:
    """Counts steps that were skipped because loss or gradient was not finite, and ends a training of many.

    A step's flag is read when the next one has been sent to the device, so that the device always has work.

    Attributes:
        total: how many were skipped; set it for a training that resumes.
    """

    def __init__(self, limit: int, name: str, keys_of: Callable[[int], Sequence[str]]) -> None:
        self.limit, self.name, self.keys_of = limit, name, keys_of
        self.total = self.in_a_row = 0
        self._unread: tuple[int, HostCopy] | None = None

    def record(self, step: int, skipped: Tensor) -> None:
        """Take a step's flag, and read that of the step before.

        Raises:
            LafsError: with the keys of the offending batch.
        """
        previous, self._unread = self._unread, (step, HostCopy(skipped))
        self._read(previous)

    def settle(self) -> int:
        """Read what is left, and return how many steps were skipped in all.

        Raises:
            LafsError: with the keys of the offending batch.
        """
        previous, self._unread = self._unread, None
        self._read(previous)
        return self.total

    def _read(self, entry: tuple[int, HostCopy] | None) -> None:
        if entry is None:
            return
        step, skipped = entry
        if not skipped.numpy():
            self.in_a_row = 0
            return
        self.total += 1
        self.in_a_row += 1
        keys = ", ".join(map(str, self.keys_of(step)[:8]))
        logger.warning("%s: step %d skipped, loss or gradient not finite; images %s", self.name, step, keys)
        if self.in_a_row >= self.limit:
            raise LafsError(
                f"{self.name}: loss or gradient was not finite in {self.in_a_row} steps one after the other, "
                f"up to step {step}, whose images are {keys} ...; the weights are those of before. Lower "
                "training.learning_rate, set training.clip_norm, or use training.precision: float32"
            )


def entropy_warning(metrics: Mapping[str, float], prototypes: int, steps: int, fraction: float) -> str | None:
    """What is wrong with a teacher after so many steps, and what to change; None where nothing is."""
    if "teacher_entropy" not in metrics:
        return None
    share = metrics["teacher_entropy"] / math.log(prototypes)
    if share < LOW_ENTROPY and steps >= FRESH_STEPS:
        return (
            f"teacher entropy is {share:.1%} of log K: the teacher gives every image one prototype. Raise "
            "pretrain.teacher_temperature, or lower training.learning_rate"
        )
    if share > HIGH_ENTROPY and fraction > UNIFORM_AFTER:
        return (
            f"teacher entropy is {share:.1%} of log K: the teacher is nearly uniform. Lower "
            "pretrain.teacher_temperature or pretrain.prototypes, or train for longer"
        )
    return None


def spread_warning(metrics: Mapping[str, float], steps: int) -> str | None:
    """What is wrong with embeddings that become one after so many steps; None where nothing is."""
    spread = metrics.get("embedding_std", 1.0)
    if spread >= LOW_SPREAD or steps < FRESH_STEPS:
        return None
    return (
        f"embeddings spread by {spread:.2f} only (1 is even): they are becoming one. Lower "
        "training.learning_rate, or, where a teacher is followed, raise pretrain.teacher_momentum"
    )
