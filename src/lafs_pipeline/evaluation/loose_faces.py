"""Embeddings of images that are in no catalog: aligned while they are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lafs_pipeline.cataloging.intake import FaceIntake
from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.models.embedding import unit_embeddings
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.source import EncodedFace, Source

BATCH_SIZE = 64
MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class EmbeddedBatch:
    """Faces that follow each other in a source.

    Attributes:
        keys: of the n images that can be used.
        vectors: (n, D) float32, of length 1; (0, 0) where none can be used.
        unusable: reason by key, of the others.
    """

    keys: list[str]
    vectors: np.ndarray
    unusable: dict[str, str]


class LooseFaces(Dataset):
    """The images of a source as the pipeline would store and embed them.

    Raises:
        LafsError: faces are not aligned and no usable detector is given.
    """

    def __init__(self, source: Source, settings: SourceSettings) -> None:
        self.source = source
        self.settings = settings
        FaceIntake(settings)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_intake"}

    @cached_property
    def _intake(self) -> FaceIntake:
        return FaceIntake(self.settings)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray, str]:
        """Key, image (112, 112, 3) uint8 RGB, and the reason why it cannot be used, empty where it can."""
        key = self.source.key(index)
        try:
            return key, read_face(self._intake, self.source.read(index)), ""
        except LafsError as error:
            return key, np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8), str(error)


def read_face(intake: FaceIntake, face: EncodedFace) -> np.ndarray:
    """One face as cataloging would store it, (112, 112, 3) uint8 RGB.

    Raises:
        LafsError: it cannot be used; gives the reason alone.
    """
    aligned = intake.align(face)
    return decode_image(aligned.encoded, aligned.channel_order)


def embed_loose_faces(
    embed: Callable[[Tensor], Tensor], faces: LooseFaces, device: torch.device
) -> Iterator[EmbeddedBatch]:
    """Embed all images of a source in their order, with a progress bar."""
    workers = min(MOST_WORKERS, usable_cores() - 1) if len(faces) > BATCH_SIZE else 0
    batches = DataLoader(faces, batch_size=BATCH_SIZE, num_workers=workers)
    with tqdm(total=len(faces), desc="embeddings", unit="image", disable=None) as progress:
        for keys, images, reasons in batches:
            usable = [not reason for reason in reasons]
            vectors = unit_embeddings(embed, images[usable].to(device)) if any(usable) else np.zeros((0, 0))
            progress.update(len(keys))
            yield EmbeddedBatch(
                [key for key, good in zip(keys, usable, strict=True) if good],
                vectors,
                {key: reason for key, reason in zip(keys, reasons, strict=True) if reason},
            )
