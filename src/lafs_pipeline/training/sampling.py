"""Which image is seen when: a function of the seed, the epoch and nothing else."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator


def part_rows(batch_size: int, parts: int, part: int) -> np.ndarray:
    """Places in a step's batch of one of its equal parts.

    A part takes as many places from the front of the batch as from its back, mirrored, so that the batch
    reversed is every part reversed: mixup's pairs do not depend on the number of parts. Parts of odd size
    are runs of places instead.

    Args:
        batch_size: images of the batch, a multiple of `parts`.
        parts: how many there are.
        part: which of them.

    Returns:
        (batch_size / parts,) int64.
    """
    size = batch_size // parts
    if size % 2 and parts > 1:
        return np.arange(part * size, (part + 1) * size)
    half = size // 2
    front = np.arange(part * half, (part + 1) * half)
    return np.arange(batch_size) if parts == 1 else np.concatenate((front, batch_size - 1 - front[::-1]))


def require_whole(batch_size: int, accumulation: int, processes: int) -> None:
    """Refuse a batch that so many processes cannot share in equal micro-batches.

    Raises:
        LafsError: names the nearest batch sizes that fit.
    """
    own = -(-accumulation // processes)
    total = own * processes
    if batch_size % total:
        below = batch_size // total * total
        nearest = " or ".join(str(size) for size in (below, below + total) if size)
        raise LafsError(
            f"batch_size {batch_size} is not a multiple of {total}, the {own} micro-batches (accumulation) "
            f"in each of {processes} processes; set batch_size to {nearest}, or change launch.processes"
        )


def plan_processes(
    processes: int | Literal["auto"], devices: int, nodes: int, batch_size: int, accumulation: int
) -> int:
    """Processes per host that share a batch in equal micro-batches.

    Args:
        processes: how many are wanted; auto takes as many of the devices as can share the batch.
        devices: of this host, at least 1.
        nodes: hosts.
        batch_size: images per step, over all processes.
        accumulation: micro-batches that one process alone would compute a step in.

    Raises:
        LafsError: the wanted number, or with auto any number, does not fit; names batch sizes that do.
    """
    for count in range(devices, 0, -1) if processes == "auto" else ():
        with suppress(LafsError):
            require_whole(batch_size, accumulation, count * nodes)
            return count
    count = 1 if processes == "auto" else processes
    require_whole(batch_size, accumulation, count * nodes)
    return count


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) from step `start` to the end of the training, as one process sees them.

    Every epoch is a fresh permutation; the images left over after the last whole batch of an epoch
    are dropped. All processes together see the same batches, however many they are.

    Args:
        length: number of training images.
        batch_size: images per step, over all processes.
        accumulation: micro-batches that one process alone would compute a step in; more share them.
        epochs: passes over the images.
        seed: of the permutations.
        start: first step.
        rank: this process.
        world_size: number of processes.

    Attributes:
        rows: places in the step's batch of each of this process's micro-batches.

    Raises:
        LafsError: when an epoch has not one whole batch, or the micro-batches are not equal.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        accumulation: int,
        epochs: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if length < batch_size:
            raise LafsError(
                f"batch_size is {batch_size} but there are {length} training images; "
                f"set it to {length} or less, or give more images"
            )
        require_whole(batch_size, accumulation, world_size)
        own = -(-accumulation // world_size)
        parts = own * world_size
        self.length, self.batch_size = length, batch_size
        self.seed, self.start = seed, start
        self.rows = [part_rows(batch_size, parts, part * world_size + rank) for part in range(own)]
        self.steps_per_epoch = length // batch_size
        self.total_steps = self.steps_per_epoch * epochs

    def __len__(self) -> int:
        return (self.total_steps - self.start) * len(self.rows)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.total_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if step == self.start or position == 0:
                order = self._order(epoch)
            batch = order[position * self.batch_size : (position + 1) * self.batch_size]
            for rows in self.rows:
                yield [(epoch, index) for index in batch[rows].tolist()]

    def step_indices(self, step: int) -> np.ndarray:
        """The images (batch_size,) of one step, of all processes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def _order(self, epoch: int) -> np.ndarray:
        return random_generator(self.seed, "order", epoch).permutation(self.length)
