"""Loading samples beside the training, and what may go wrong with it."""

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
    """What is drawn from (epoch, index) of the faces of a manifest; a subclass draws it."""

    def __init__(self, faces: FaceImages) -> None:
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def key(self, index: int) -> str:
        """The manifest's key of an image."""
        return str(self.faces.keys[index])


def loaded(
    samples: Samples, batches: StepBatches, workers: int, pinned: bool
) -> Generator[dict[str, Tensor], None, None]:
    """Collated batches in order; closed, it ends the processes that load them.

    Raises:
        LafsError: raised by a sample, or a loading process was killed.
    """
    yield from batches_of(
        DataLoader(
            samples,
            batch_sampler=batches,
            pin_memory=pinned,
            **processes.loading(workers),
        )
    )
