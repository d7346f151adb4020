"""Embeddings of many faces, made once, by as many processes as there are, and read by memory map."""

import hashlib
import json
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.card import fingerprint
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.embedding import flip_sum
from lafs_pipeline.runtime import processes, watchdog
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch import LaunchSettings, Stopped, launch
from lafs_pipeline.runtime.stop_signals import StopSignals
from lafs_pipeline.views.normalise import to_input

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of the faces of one benchmark.

    Attributes:
        rows: position in `vectors` by key of the face.
        vectors: (n, D) float32 or float16, memory-mapped, of any length.
        fingerprint: of the faces (:func:`lafs_pipeline.faces.card.fingerprint`).
    """

    rows: pd.Series
    vectors: np.ndarray
    fingerprint: str


def model_digest(model: nn.Module) -> str:
    """SHA-256 of a model: its sizes, and names, kinds and values of its weights, 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(getattr(model, "sizes", None), sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def embed_faces(
    model: nn.Module, digest: str, faces: pd.DataFrame, options: EvaluateSettings, processes_used: LaunchSettings
) -> Embeddings:
    """Embed faces, or read their embeddings where this model has embedded these faces before.

    The file is named by the digests of model and faces, by flip and precision, and appears whole or not at
    all. Several processes write a share of the rows each; the folder must be shared between hosts.

    Args:
        model: images (B, 3, 112, 112) in [-1, 1] -> (B, D).
        digest: `model_digest` of it.
        faces: rows of the manifest.
        options: flip, precision, folder and sizes of the work.
        processes_used: how many processes embed.

    Raises:
        LafsError: an image cannot be read, or the folder cannot be written.
        Stopped: after a signal; what is not whole is not kept.
    """
    faces = faces.sort_values("key", ignore_index=True)
    prints = fingerprint(faces)
    flags = f"{'flip' if options.flip else 'plain'}-{options.precision}"
    path = Path(options.embeddings) / digest[:32] / f"{prints}-{flags}.npy"
    vectors = _kept(path, len(faces))
    if vectors is None:
        temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npy")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            launch(_extract, _Extraction(model, faces, options, path, temporary), processes_used)
        except OSError as error:
            raise LafsError(f"embeddings cannot be written to {path} ({error.strerror})") from error
        finally:
            temporary.unlink(missing_ok=True)
        vectors = _kept(path, len(faces))
    if vectors is None:
        raise LafsError(f"{path} is not there; is the folder of `evaluate.embeddings` shared by all hosts?")
    return Embeddings(pd.Series(range(len(faces)), index=faces["key"]), vectors, prints)


def _kept(path: Path, count: int) -> np.ndarray | None:
    """The array of a file with `count` rows; None where there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if vectors.ndim == 2 and len(vectors) == count:
            return vectors
        reason = f"shape {vectors.shape} for {count} faces"
    except (ValueError, OSError, EOFError) as error:
        reason = str(error)
    logger.warning("%s cannot be used (%s) and is made anew", path, reason)
    return None


@dataclass(frozen=True)
class _Extraction:
    """What every process gets; only the first one's `temporary` is written."""

    model: nn.Module
    faces: pd.DataFrame
    options: EvaluateSettings
    path: Path
    temporary: Path


@torch.inference_mode()
def _extract(job: _Extraction) -> None:
    """Embed this process's share of the faces into the one file."""
    options, device = job.options, processes.local_device()
    model = job.model.to(device).eval()
    embed = flip_sum(model) if options.flip else model
    place = None
    if processes.is_main():
        width = embed(torch.zeros(1, 3, 112, 112, device=device)).shape[1]
        empty = np.lib.format.open_memmap(job.temporary, "w+", options.precision, (len(job.faces), width))
        place = str(job.temporary), empty.offset, empty.strides[0]
        del empty
    temporary, offset, row_bytes = processes.broadcast_object(place)
    bounds = np.linspace(0, len(job.faces), processes.world_size() + 1).astype(int)
    first, end = bounds[processes.rank()], bounds[processes.rank() + 1]
    steps = -(-int(np.diff(bounds).max()) // options.batch_size)
    loader = DataLoader(
        FaceImages(job.faces.iloc[first:end]), batch_size=options.batch_size, num_workers=options.workers
    )
    batches = iter(loader)
    hidden = None if processes.is_main() else True
    with open(temporary, "r+b") as stream, StopSignals() as signals:  # noqa: PTH123
        stream.seek(offset + int(first) * row_bytes)
        for step in tqdm(range(steps), desc="embeddings", unit="batch", disable=hidden):
            watchdog.progress(step, "embedding a batch")
            images: Tensor | None = next(batches, None)
            if images is not None:
                vectors = embed(to_input(images.to(device))).cpu().numpy()
                stream.write(vectors.astype(options.precision).tobytes())
            reason = processes.agree_on_stop(signals.requested)
            if reason:
                raise Stopped(f"embedding stopped ({reason}); the same command starts it again")
        stream.flush()
        os.fsync(stream.fileno())
    processes.barrier()
    if processes.is_main():
        Path(temporary).replace(job.path)
    processes.barrier()
