"""What the processes of a group do in the tests of several; in place, one process does the same."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tests.training.small_trainings import SEED, TRAINING, SmallTraining

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import Stopped
from lafs_pipeline.training.jobs import RunContext, train_alone


@dataclass(frozen=True)
class Steps:
    """Several steps of several trainings, with a stop and a resume after each step.

    Attributes:
        trainings: what is trained, by its folder.
        count: steps of each; None goes on to the end of each training without a stop.
    """

    trainings: Mapping[Path, SmallTraining]
    count: int | None


def take_steps(steps: Steps) -> None:
    """Train, and note in `<folder>/seen-<rank>` the keys of the images, in the order of reading."""
    for folder, training in steps.trainings.items():
        changes = {} if steps.count is None else {"max_minutes": 1e-9}
        short = replace(training, training={**training.training, **changes})
        with keys_noted(folder / f"seen-{processes.rank()}"):
            for _ in range(steps.count or 1):
                with suppress(Stopped):
                    train_alone(short.job(RunContext(folder, SEED)))


def take_all(plan: Sequence[Steps]) -> None:
    """Several such groups of steps, one after the other."""
    for steps in plan:
        take_steps(steps)


@contextmanager
def keys_noted(path: Path) -> Iterator[None]:
    """Append the key of every image that is read to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    read = FaceImages.__getitem__

    def noting(faces: FaceImages, index: int) -> np.ndarray:
        with path.open("a") as stream:
            stream.write(f"{faces.keys[index]}\n")
        return read(faces, index)

    FaceImages.__getitem__ = noting
    try:
        yield
    finally:
        FaceImages.__getitem__ = read


@dataclass(frozen=True)
class Hang:
    """A training in which an image never comes.

    Attributes:
        training: what is trained.
        folder: where.
        step: whose images do not come.
    """

    training: SmallTraining
    folder: Path
    step: int


def hang_in_rank_1(hang: Hang) -> None:
    """Train until rank 1 wants the first image of a step."""
    before = hang.step * TRAINING.batch_size // processes.world_size()
    read, count = FaceImages.__getitem__, itertools.count()

    def reading(faces: FaceImages, index: int) -> np.ndarray:
        if processes.rank() == 1 and next(count) == before:
            time.sleep(1000)
        return read(faces, index)

    FaceImages.__getitem__ = reading
    train_alone(hang.training.job(RunContext(hang.folder, SEED)))
