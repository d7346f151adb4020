"""Schedules: one value per step, known before training starts, so that resuming needs a step number alone."""

import numpy as np

from lafs_pipeline.runtime.errors import LafsError


def cosine_schedule(
    base: float, final: float, total_steps: int, warmup_steps: int = 0, start: float = 0.0
) -> np.ndarray:
    """Linear warm-up from `start` to `base`, then half a cosine from `base` towards `final`.

    DINO's `cosine_scheduler`: both ends of the warm-up are included, and the step after the last would
    be the first to have `final` itself. A warm-up as long as the training leaves no cosine.

    Returns:
        (total_steps,) float64.

    Raises:
        LafsError: fewer than one step, or a warm-up that is negative or longer than the training.
    """
    _check_steps(total_steps, warmup_steps)
    decay_steps = total_steps - warmup_steps
    phase = np.pi * np.arange(decay_steps) / max(decay_steps, 1)
    decay = final + 0.5 * (base - final) * (1 + np.cos(phase))
    return np.concatenate([np.linspace(start, base, warmup_steps), decay])


def linear_schedule(start: float, final: float, total_steps: int, warmup_steps: int) -> np.ndarray:
    """Straight line from `start` to `final` over the warm-up, both ends included, then `final`.

    The teacher temperature: 0.07 down to 0.04 in LAFS, 0.04 up to 0.07 in DINO.

    Returns:
        (total_steps,) float64.

    Raises:
        LafsError: fewer than one step, or a warm-up that is negative or longer than the training.
    """
    _check_steps(total_steps, warmup_steps)
    return np.concatenate(
        [np.linspace(start, final, warmup_steps), np.full(total_steps - warmup_steps, float(final))]
    )


def _check_steps(total_steps: int, warmup_steps: int) -> None:
    if total_steps < 1:
        raise LafsError(f"A schedule of {total_steps} steps was asked for; training needs at least one step.")
    if not 0 <= warmup_steps <= total_steps:
        raise LafsError(
            f"A warm-up of {warmup_steps} steps does not fit a training of {total_steps} steps: "
            "shorten the warm-up or train for longer."
        )
