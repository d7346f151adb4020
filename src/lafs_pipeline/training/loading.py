"""Loading samples beside the training, and what may go wrong with it."""

import signal
import sys
from collections.abc import Generator
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.loading import batches_of
from lafs_pipeline.training.sampling import StepBatches


class Samples(Protocol):
    """Training images, indexed by (epoch, index); a sample is a dict of arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]: ...

    def key(self, index: int) -> str:
        """The name of an image, for messages."""


class FaceSamples(Dataset):
    """What is drawn from (epoch, index) of the faces of a manifest; a subclass draws it.

    Args:
        faces: n images.
    """

    def __init__(self, faces: FaceImages) -> None:
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def key(self, index: int) -> str:
        """The manifest's key of an image."""
        return self.faces.keys[index]


def loaded(
    samples: Samples, batches: StepBatches, workers: int, pinned: bool
) -> Generator[dict[str, Tensor], None, None]:
    """Collated batches in order; closed, it ends the processes that load them.

    Args:
        samples: what is loaded.
        batches: which of them.
        workers: processes that load; 0 loads in this one.
        pinned: whether batches lie in memory that a GPU copies from.

    Raises:
        LafsError: raised by a sample, or a loading process was killed.
    """
    yield from batches_of(
        DataLoader(
            samples,
            batch_sampler=batches,
            num_workers=workers,
            pin_memory=pinned,
            worker_init_fn=_belong_to_the_training,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )
    )


def _belong_to_the_training(_worker: int) -> None:
    """A loader's process ends with its training, neither before nor after it.

    The first SIGTERM may have been sent to all processes of a job; when a loader is to end by one, another
    follows.
    """
    processes.die_with_parent()
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
