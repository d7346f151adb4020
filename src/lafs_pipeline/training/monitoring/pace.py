"""How far a training is and how long it will take, in a line now and then."""

import logging
import time

logger = logging.getLogger(__name__)

FIRST, BETWEEN = 5.0, 60.0
"""Seconds before the first line, and before each of the next."""


class Pace:
    """Lines of progress for people who read a log; a bar is for those at a terminal.

    Args:
        name: of the training.
        total: its steps.
        batch_size: images of a step.
    """

    def __init__(self, name: str, total: int, batch_size: int) -> None:
        self._name, self._total, self._batch_size = name, total, batch_size
        self._due = time.monotonic() + FIRST

    def tell(self, done: int, images_per_second: float) -> None:
        """Say where the training stands after `done` steps, when a line is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + BETWEEN
        seconds = (self._total - done) * self._batch_size / images_per_second
        logger.info(
            "%s: step %d of %d, %.0f images/s, about %s to go",
            *(self._name, done, self._total, images_per_second, readable_time(seconds)),
        )


def readable_time(seconds: float) -> str:
    """Seconds, minutes or hours, to two digits or so."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
