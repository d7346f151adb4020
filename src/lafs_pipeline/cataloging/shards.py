"""Images are ingested shard by shard; the shards are the stores that a manifest names.

A finished shard is never written again, so that a manifest and its stores fit each other at any time: what a
new cataloging needs comes beside what the saved manifest names, and only once the new manifest is saved are
stores that it does not name removed.
"""

import hashlib
import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
from tqdm import tqdm

from lafs_pipeline import __version__
from lafs_pipeline.cataloging.intake import AlignedFace
from lafs_pipeline.cataloging.planning import PlannedImages
from lafs_pipeline.faces.manifest import MANIFEST_TYPES, TableBuilder
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.source import shard_paths

logger = logging.getLogger(__name__)

_FORM = 2
"""Raised when anything that decides about a shard changes here."""
_TASK = 16
_NO_LABEL = -1.0
_PACKED_SUFFIXES = {"recordio": ".rec", "tar": ".tar", "parquet": ".parquet"}
_OF_THE_PLAN = ("key", "identity", "source", "split")
STORED_TYPES = {name: kind for name, kind in MANIFEST_TYPES.items() if name not in _OF_THE_PLAN}
SHARD_TYPES = {"index": "int64", "reason": "string"} | STORED_TYPES
_OWN = ""
"""Store of the images in a shard's own file, wherever its folder lies."""
_DIGEST_SIZE = 12
_SHARD_FILE = re.compile(rf"\.?(?P<shard>[0-9a-f]{{{2 * _DIGEST_SIZE}}})(\..+)?\.(rec|idx|parquet)")
"""Files of a shard, and temporary ones that a killed process has left."""


class ShardFolder:
    """Where finished shards lie: for each a RecordIO file of aligned faces and a table, named by a digest.

    The digest covers the version of this package, the settings of the source, the keys of the shard's images,
    and size and time of the files behind them as far as they are known: whatever changes makes another shard.
    """

    def __init__(self, path: Path, images: int, seed: int) -> None:
        self.path = path
        self.images = images
        self.seed = seed

    def ingest(
        self, planned: PlannedImages, threads: int, progress: tqdm
    ) -> Iterator[tuple[Path, Sequence[int], pd.DataFrame]]:
        """Align all wanted images of a source, shard by shard.

        Yields:
            The store of a shard, the positions of its images, and a table with one row for each that was not
            refused before: index, reason (missing for accepted images), and the columns of the manifest that
            an image alone decides.

        Raises:
            LafsError: The folder cannot be written.
        """
        with _one_opencv_thread(), ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(planned.wanted), self.images):
                part = planned.wanted[start : start + self.images]
                indices = [index for index in part if index not in planned.refused]
                store = self.path / f"{self._digest(planned, indices)}.rec"
                progress.update(len(part) - len(indices))
                if store.is_file() and store.with_suffix(".parquet").is_file():
                    progress.update(len(indices))
                else:
                    self._write(store, planned, indices, pool, threads, progress)
                table = pd.read_parquet(store.with_suffix(".parquet"))
                table["store"] = table["store"].astype("category").cat.rename_categories({_OWN: str(store)})
                yield store, part, table

    def _write(
        self,
        store: Path,
        planned: PlannedImages,
        indices: Sequence[int],
        pool: Executor,
        threads: int,
        progress: tqdm,
    ) -> None:
        in_place = planned.source if isinstance(planned.source, RecordIOSource) else None
        rows = TableBuilder(SHARD_TYPES)
        tasks = [indices[start : start + _TASK] for start in range(0, len(indices), _TASK)]
        with RecordIOWriter(store) as writer:
            for done in _in_order(pool, lambda task: _aligned(planned, task), tasks, 4 * threads):
                progress.update(len(done))
                for index, face in done:
                    if isinstance(face, str):
                        rows.append(index, face, None, -1, -1, None, 0, 0, 0, None, *[None] * 11)
                        continue
                    if in_place is not None and face.unchanged:
                        path, record, offset = in_place.location(index)
                        store_name = str(path)
                    else:
                        store_name, record = _OWN, writer.count
                        offset = writer.write_image(record, face.encoded, _NO_LABEL)
                    rows.append(index, None, store_name, record, offset, *_facts(face))
        try:
            with whole_file(store.with_suffix(".parquet")) as temporary:
                rows.table().to_parquet(temporary)
        except OSError as error:
            raise LafsError(f"{self.path} cannot be written ({error.strerror}).") from error

    def _digest(self, planned: PlannedImages, indices: Sequence[int]) -> str:
        settings = planned.intake.settings
        stamps = [_stamp(path) for path in _files_behind(settings)]
        decode = planned.intake.decode_aligned
        facts = [_FORM, __version__, planned.name, self.seed, asdict(settings), decode, stamps]
        digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=_DIGEST_SIZE)
        folder = str(settings.root or settings.path) if settings.kind in ("folder", "list") else None
        for index in indices:
            key = planned.source.key(index)
            image = folder and _stamp(Path(folder, key))
            digest.update(json.dumps([index, key, image]).encode())
        return digest.hexdigest()


def remove_unused_stores(folder: Path | str, used: Iterable[str]) -> None:
    """Remove the shards of a folder that nothing uses any more, and what killed processes have left."""
    folder = Path(folder)
    kept = {Path(store) for store in used}
    shards, freed = set(), 0
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _SHARD_FILE.fullmatch(file.name)
        if match is None or (not file.name.startswith(".") and folder / f"{match['shard']}.rec" in kept):
            continue
        freed += file.stat().st_size
        shards.add(match["shard"])
        file.unlink()
    if shards:
        logger.info("%s: %d unused stores removed (%.1f MB)", folder, len(shards), freed / 1e6)


def _aligned(planned: PlannedImages, indices: Sequence[int]) -> list[tuple[int, AlignedFace | str]]:
    """The images, or the reasons why they cannot be used."""
    done: list[tuple[int, AlignedFace | str]] = []
    for index in indices:
        try:
            done.append((index, planned.intake.align(planned.source.read(index))))
        except LafsError as error:
            done.append((index, str(error)))
    return done


def _facts(face: AlignedFace) -> tuple:
    points = [None] * 10 if face.points is None else face.points.ravel().tolist()
    hashes = face.exact_hash, face.perceptual_hash
    return face.channel_order, face.width, face.height, *hashes, *points, face.score


def _in_order(
    pool: Executor, function: Callable[[Any], Any], items: Iterable[Any], ahead: int
) -> Iterator[Any]:
    """As `pool.map`, but with at most `ahead` results waiting."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Images are worked on side by side; OpenCV's own threads would only get in the way."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _files_behind(settings: Any) -> list[Path]:
    paths = [settings.path] if isinstance(settings.path, str) else settings.path or []
    if settings.kind in _PACKED_SUFFIXES:
        paths = shard_paths(settings.path, _PACKED_SUFFIXES[settings.kind])
    return [Path(path) for path in (*paths, settings.points, settings.detector) if path]


def _stamp(path: Path) -> tuple[str, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return str(path), status.st_size, status.st_mtime_ns
