"""Images are ingested shard by shard; what is done stays done when a run breaks off."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from lafs_pipeline.cataloging.intake import AlignedFace
from lafs_pipeline.cataloging.planning import PlannedImages
from lafs_pipeline.faces.manifest import MANIFEST_TYPES, TableBuilder
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.sources.recordio import RecordIOReader, RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.source import shard_paths

_FORM = 1
_TASK = 16
_PACKED_SUFFIXES = {"recordio": ".rec", "tar": ".tar", "parquet": ".parquet"}
_OF_THE_PLAN = ("key", "identity", "source", "split")
STORED_TYPES = {name: kind for name, kind in MANIFEST_TYPES.items() if name not in _OF_THE_PLAN}
SHARD_TYPES = {"index": "int64", "reason": "string"} | STORED_TYPES


class ShardFolder:
    """Where finished shards lie: for each a RecordIO file of aligned faces and a table, named by a digest.

    The digest covers the settings of the source, the keys and labels of the shard's images, and size and time
    of the files behind them as far as they are known: whatever changes makes another shard.

    Args:
        path: The folder; made when the first shard is written.
        images: Images a shard.
        seed: Seed of the catalog, which synthetic images depend on.
    """

    def __init__(self, path: Path, images: int, seed: int) -> None:
        self.path = path
        self.images = images
        self.seed = seed

    def ingest(
        self, planned: PlannedImages, labels: dict[str, int], threads: int, progress: tqdm
    ) -> Iterator[tuple[Sequence[int], pd.DataFrame]]:
        """Align all wanted images of a source, shard by shard.

        Args:
            planned: The source.
            labels: Number of each person, as it is written into the records.
            threads: How many images are worked on at a time.
            progress: Counts the images.

        Yields:
            Positions of the images of a shard, and a table with one row for each that was not refused before:
            index, reason (missing for accepted images), and the columns of the manifest that an image alone
            decides.

        Raises:
            LafsError: The folder cannot be written.
        """
        with _one_opencv_thread(), ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(planned.wanted), self.images):
                part = planned.wanted[start : start + self.images]
                indices = [index for index in part if index not in planned.refused]
                store = self.path / f"{self._digest(planned, indices, labels)}.rec"
                progress.update(len(part) - len(indices))
                if store.is_file() and store.with_suffix(".parquet").is_file():
                    progress.update(len(indices))
                else:
                    self._write(store, planned, indices, labels, pool, threads, progress)
                yield part, pd.read_parquet(store.with_suffix(".parquet"))

    def _write(
        self,
        store: Path,
        planned: PlannedImages,
        indices: Sequence[int],
        labels: dict[str, int],
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
                        place = in_place.location(index)
                    else:
                        label, record = labels.get(planned.person(index), -1), writer.count
                        place = store, record, writer.write_image(record, face.encoded, float(label))
                    rows.append(index, None, str(place[0]), *place[1:], *_facts(face))
        try:
            with whole_file(store.with_suffix(".parquet")) as temporary:
                rows.table().to_parquet(temporary)
        except OSError as error:
            raise LafsError(f"{self.path} cannot be written ({error.strerror}).") from error

    def _digest(self, planned: PlannedImages, indices: Sequence[int], labels: dict[str, int]) -> str:
        settings = planned.intake.settings
        stamps = [_stamp(path) for path in _files_behind(settings)]
        decode = planned.intake.decode_aligned
        facts = [_FORM, planned.name, self.seed, asdict(settings), decode, stamps]
        digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=12)
        folder = settings.root or settings.path if settings.kind in ("folder", "list") else None
        for index in indices:
            key = planned.source.key(index)
            image = folder and _stamp(Path(folder, key))
            fact = json.dumps([index, key, labels.get(planned.person(index)), image])
            digest.update(fact.encode())
        return digest.hexdigest()


def pack_stores(manifest: pd.DataFrame, folder: Path, packed_path: Path) -> pd.DataFrame:
    """Copy the records of `manifest` that lie in `folder` into one RecordIO file, in their order.

    Returns:
        The manifest with store, record and offset of the new places.

    Raises:
        LafsError: The file cannot be written.
    """
    stores = manifest["store"].cat.categories
    kept = [store for store in stores if Path(store).parent != folder]
    numbers = pd.Index([*kept, str(packed_path)]).get_indexer(stores)
    codes = np.where(numbers < 0, len(kept), numbers)[manifest["store"].cat.codes]
    records, offsets = manifest["record"].to_numpy(copy=True), manifest["offset"].to_numpy(copy=True)
    reader = None
    with RecordIOWriter(packed_path) as writer:
        for number, row in enumerate(np.flatnonzero(codes == len(kept))):
            store = Path(manifest["store"].iloc[row])
            if reader is None or reader.path != store:
                reader = RecordIOReader(store)
            offsets[row] = writer.write(number, reader.read(records[row]))
            records[row] = number
    store = pd.Categorical.from_codes(codes, [*kept, str(packed_path)])
    return manifest.assign(store=store.remove_unused_categories(), record=records, offset=offsets)


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
