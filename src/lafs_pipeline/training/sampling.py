"""Which image is seen when: a function of the seed, the epoch and nothing else."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator


class StepBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) from step `start` to the end of the training.

    Every epoch is a fresh permutation; the images left over after the last whole batch of an epoch
    are dropped.

    Args:
        length: number of training images.
        batch_size: images a step.
        accumulation: parts a step is yielded in.
        epochs: passes over the images.
        seed: of the permutations.
        start: first step.

    Raises:
        LafsError: when an epoch has not one whole batch, or the parts are not whole.
    """

    def __init__(
        self, length: int, batch_size: int, accumulation: int, epochs: int, seed: int, start: int = 0
    ) -> None:
        if length < batch_size:
            raise LafsError(
                f"batch_size is {batch_size} but there are {length} training images; "
                f"set it to {length} or less, or give more images"
            )
        if batch_size % accumulation:
            raise LafsError(f"batch_size {batch_size} is not a multiple of accumulation {accumulation}")
        self.length, self.batch_size, self.part = length, batch_size, batch_size // accumulation
        self.seed, self.start = seed, start
        self.steps_per_epoch = length // batch_size
        self.total_steps = self.steps_per_epoch * epochs

    def __len__(self) -> int:
        return (self.total_steps - self.start) * (self.batch_size // self.part)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.total_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if step == self.start or position == 0:
                order = random_generator(self.seed, "order", epoch).permutation(self.length).tolist()
            first = position * self.batch_size
            for part in range(first, first + self.batch_size, self.part):
                yield [(epoch, index) for index in order[part : part + self.part]]
