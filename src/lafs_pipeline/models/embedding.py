"""Embeddings of faces, in batches."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lafs_pipeline.runtime.host_copy import HostCopy
from lafs_pipeline.runtime.loading import batches_of
from lafs_pipeline.views.normalize import to_input


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of faces: embeddings, or landmarks.

    Attributes:
        rows: position in `vectors` by key of the face.
        vectors: (n, D) float32 or float16, memory-mapped where they may be many, of any length.
        fingerprint: of the faces (:func:`lafs_pipeline.faces.manifest.fingerprint`).
    """

    rows: pd.Series
    vectors: np.ndarray
    fingerprint: str


@torch.inference_mode()
def map_faces(
    function: Callable[[Tensor], Tensor],
    faces: Dataset,
    device: torch.device,
    batch_size: int = 64,
    workers: int = 0,
    title: str | None = None,
) -> np.ndarray:
    """Apply `function` to all faces, in order.

    Args:
        function: images (B, 3, 112, 112) in [-1, 1] -> (B, ...).
        faces: n images, or n stacks of V images (V, 112, 112, 3) uint8, which come as (B, V, 3, 112, 112).
        device: where the function runs.
        batch_size: images per call.
        workers: processes that decode.
        title: of the progress bar; None shows none.

    Returns:
        (n, ...) float32.
    """
    loader = DataLoader(faces, batch_size=batch_size, num_workers=workers, pin_memory=device.type == "cuda")
    parts: list[np.ndarray] = []
    previous = None
    for images in tqdm(batches_of(loader), title, len(loader), unit="batch", disable=title is None or None):
        current = HostCopy(function(to_input(images.to(device, non_blocking=True))).float())
        if previous is not None:
            parts.append(previous.numpy())
        previous = current
    return np.concatenate(parts if previous is None else [*parts, previous.numpy()])


def flip_sum(embed: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The embedding of an image plus that of its mirror image (InsightFace's protocol)."""
    return lambda images: embed(images) + embed(images.flip(-1))


@torch.inference_mode()
def unit_embeddings(embed: Callable[[Tensor], Tensor], images: Tensor) -> np.ndarray:
    """Embeddings of images and mirror images together, of length 1: their inner products are cosines.

    Args:
        embed: images (B, 3, 112, 112) in [-1, 1] -> (B, D).
        images: (B, 112, 112, 3) uint8 RGB, where `embed` runs.

    Returns:
        (B, D) float32.
    """
    return F.normalize(flip_sum(embed)(to_input(images)), dim=1).cpu().numpy()
