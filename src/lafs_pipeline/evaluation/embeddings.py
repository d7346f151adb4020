"""Embeddings of many faces, made once, by as many processes as there are, and read by memory map."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import LOADED_COLUMNS, fingerprint
from lafs_pipeline.models.embedding import Embeddings, flip_sum
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError, Stopped
from lafs_pipeline.runtime.host_copy import HostCopy
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.stop_signals import StopSignals
from lafs_pipeline.views.normalize import to_input

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddingStore:
    """Embeddings that models have made, kept for the next time.

    Attributes:
        folder: with a folder for each model, named by its digest; all hosts must share it.
    """

    folder: Path

    def embed(
        self,
        model: nn.Module,
        digest: str,
        tables: Mapping[str, pd.DataFrame],
        options: EvaluateSettings,
        launching: LaunchSettings,
    ) -> dict[str, Embeddings]:
        """Embed the faces of benchmarks, or read embeddings where this model has embedded these faces before.

        Files are named by the digests of model and faces, by flip, precision and arithmetic, and are atomic.
        Several processes write a share of the rows each.

        Args:
            model: images (B, 3, 112, 112) in [-1, 1] -> (B, D).
            digest: `model_digest` of it.
            tables: by benchmark, rows of the manifest.
            options: flip, precision and sizes of the work.
            launching: how many processes embed.

        Returns:
            By benchmark.

        Raises:
            LafsError: an image cannot be read, or the folder cannot be written.
            Stopped: after a signal; files that are not whole are not kept.
        """
        flags = f"{'flip' if options.flip else 'plain'}-{options.precision}"
        flags += "" if options.arithmetic == "float32" else f"-{options.arithmetic}"
        folder = self.folder / digest[:32]
        prints = {name: fingerprint(faces) for name, faces in tables.items()}
        tables = {name: faces[LOADED_COLUMNS] for name, faces in tables.items()}
        tables = {name: faces.sort_values("key", ignore_index=True) for name, faces in tables.items()}
        paths = {name: folder / f"{prints[name]}-{flags}.npy" for name in tables}
        absent = {
            path: tables[name] for name, path in paths.items() if _kept(path, len(tables[name])) is None
        }
        if absent:
            _extract_all(model.cpu(), absent, options, folder, launching)
        found = {}
        for name, faces in tables.items():
            vectors = _kept(paths[name], len(faces))
            if vectors is None:
                raise LafsError(f"{paths[name]} is not there; do all hosts share {self.folder}?")
            found[name] = Embeddings(pd.Series(range(len(faces)), index=faces["key"]), vectors, prints[name])
        return found


def _extract_all(
    model: nn.Module,
    tables: dict[Path, pd.DataFrame],
    options: EvaluateSettings,
    folder: Path,
    launching: LaunchSettings,
) -> None:
    """Write the embeddings of each table to its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid.uuid4().hex}.npy"
        try:
            launch(_extract, _Extraction(model, tables, options, temporary), launching)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise LafsError(f"embeddings cannot be written to {folder} ({error.strerror})") from error


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
    tables: dict[Path, pd.DataFrame]
    options: EvaluateSettings
    temporary: Path


@torch.inference_mode()
def _extract(job: _Extraction) -> None:
    """Embed this process's share of every table."""
    device = processes.local_device()
    model = job.model.to(device).eval()
    embed = flip_sum(model) if job.options.flip else model
    width = embed(torch.zeros(1, 3, 112, 112, device=device)).shape[1]
    temporary = Path(processes.broadcast_object(str(job.temporary)))
    with StopSignals() as signals, arithmetic(device, job.options.arithmetic):
        for path, faces in job.tables.items():
            if processes.is_main():
                offset = _reserve(temporary, (len(faces), width), job.options.precision)
            offset = processes.broadcast_object(offset if processes.is_main() else None)
            _write_share(temporary, offset, width, faces, embed, device, job.options, signals)
            processes.barrier()
            if processes.is_main():
                temporary.replace(path)
            processes.barrier()


@contextmanager
def arithmetic(device: torch.device, wanted: str) -> Iterator[None]:
    """Inside, matrix products are those of `EvaluateSettings.arithmetic`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if wanted == "tf32" else "highest")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=wanted == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _reserve(path: Path, shape: tuple[int, int], precision: str) -> int:
    """Lay out an array of this shape; returns the byte where its numbers start."""
    return np.lib.format.open_memmap(path, "w+", precision, shape).offset


def _write_share(
    path: Path,
    offset: int,
    width: int,
    faces: pd.DataFrame,
    embed: Callable[[Tensor], Tensor],
    device: torch.device,
    options: EvaluateSettings,
    signals: StopSignals,
) -> None:
    """Embed this process's rows into the file that all write."""
    bounds = np.linspace(0, len(faces), processes.world_size() + 1).astype(int)
    first, end = bounds[processes.rank()], bounds[processes.rank() + 1]
    steps = -(-int(np.diff(bounds).max()) // options.batch_size)
    images = FaceImages(faces.iloc[first:end])
    loading = processes.loading(options.workers)
    batches = iter(DataLoader(images, options.batch_size, pin_memory=device.type == "cuda", **loading))
    hidden = None if processes.is_main() else True
    with open(path, "r+b") as stream:  # noqa: PTH123
        stream.seek(offset + int(first) * width * np.dtype(options.precision).itemsize)
        previous: HostCopy | None = None
        for step in tqdm(range(steps), desc="embeddings", unit="batch", disable=hidden):
            batch: Tensor | None = next(batches, None)
            current = None
            if batch is not None:
                current = HostCopy(embed(to_input(batch.to(device, non_blocking=True))).float())
            _append(stream, previous, options.precision)
            previous = current
            reason = processes.agree_on_stop(signals.requested)
            if reason and step + 1 < steps:
                raise Stopped(f"embedding stopped ({reason}); the same command starts it again")
        _append(stream, previous, options.precision)
        stream.flush()
        os.fsync(stream.fileno())


def _append(stream: BinaryIO, vectors: HostCopy | None, precision: str) -> None:
    if vectors is not None:
        stream.write(vectors.numpy().astype(precision).tobytes())
