"""Sources and benchmarks become one manifest, one packed file of aligned faces, and a list of pairs."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lafs_pipeline.faces.benchmarks import BenchmarkSettings
from lafs_pipeline.faces.intake import AlignedFace
from lafs_pipeline.faces.manifest import MANIFEST_TYPES, PAIR_TYPES, REJECTED_TYPES, TableBuilder
from lafs_pipeline.faces.planning import CatalogSettings, PlannedImages, held_out_pairs, plan_catalogue
from lafs_pipeline.faces.recordio import RecordIOWriter
from lafs_pipeline.faces.sources import RecordIOSource
from lafs_pipeline.runtime.errors import LafsError

__all__ = ["BenchmarkSettings", "CatalogSettings", "Catalogue", "catalog_faces"]

logger = logging.getLogger(__name__)
_WINDOW = 256


@dataclass(frozen=True)
class Catalogue:
    """What cataloguing yields.

    Attributes:
        manifest: One row an image; columns in :mod:`lafs_pipeline.faces.manifest`.
        rejected: source, key, reason of every image that was left out.
        pairs: benchmark, pair (from 0, in file order), key_a, key_b, is_same, fold (missing for none).
    """

    manifest: pd.DataFrame
    rejected: pd.DataFrame
    pairs: pd.DataFrame


def catalog_faces(settings: CatalogSettings, seed: int, packed_path: Path | str) -> Catalogue:
    """Take in all sources and benchmarks in one pass over their images.

    Aligned faces in RecordIO files are read in place. All others are packed into the RecordIO file
    `packed_path`: 112 x 112 JPEG and PNG files as they are, others aligned or resized and written as JPEG of
    quality 95. Images that cannot be used are listed with the reason, and the run goes on. No identity of a
    benchmark stays in training, not even under the same folder name in another source.

    Raises:
        LafsError: Names or paths are wrong, all images of a source were rejected, or there are too few
            identities or images for what is asked. Nothing is left on disk then.
    """
    plan = plan_catalogue(settings, seed)
    rows, rejected = TableBuilder(MANIFEST_TYPES), TableBuilder(REJECTED_TYPES)
    total = sum(len(planned.wanted) for planned in plan.images.values())
    with (
        RecordIOWriter(packed_path) as writer,
        tqdm(total=total, unit="image", desc="cataloguing") as progress,
    ):
        for planned in plan.images.values():
            _take_in(planned, settings.threads, writer, rows, rejected, progress)
        manifest = rows.table()
        pairs = TableBuilder(PAIR_TYPES)
        for name, benchmark in settings.benchmarks.items():
            if benchmark.kind == "held_out":
                members = manifest[manifest["split"] == name]
                drawn = held_out_pairs(name, benchmark, members["identity"].tolist(), seed)
                _add_pairs(name, drawn, members["key"].tolist(), pairs)
            else:
                usable = set(manifest["key"][manifest["source"] == name])
                planned = plan.images[name]
                keys = [
                    key if (key := planned.key(i)) in usable else None for i in range(len(planned.source))
                ]
                _add_pairs(name, plan.fixed_pairs[name], keys, pairs)
    return Catalogue(manifest, rejected.table(), pairs.table())


def _take_in(
    planned: PlannedImages,
    threads: int,
    writer: RecordIOWriter,
    rows: TableBuilder,
    rejected: TableBuilder,
    progress: tqdm,
) -> None:
    in_place = planned.source if isinstance(planned.source, RecordIOSource) else None
    accepted_before, rejected_before = len(rows), len(rejected)
    reasons = []
    for index, face in _aligned(planned, threads):
        progress.update()
        key = planned.key(index)
        if isinstance(face, str):
            rejected.append(planned.name, key, face)
            reasons = [*reasons, f"{key}: {face}"][:3]
            continue
        if in_place is not None and face.unchanged:
            store, record = in_place.reader.path, int(in_place.records[index])
        else:
            store, record = writer.path, writer.count
            writer.write_image(record, face.encoded, 0.0)
        identity = planned.identities[index]
        rows.append(
            key,
            None if identity is None else f"{planned.name}/{identity}",
            planned.name,
            planned.splits[index],
            str(store),
            record,
            face.channel_order,
            *([None] * 10 if face.points is None else face.points.ravel().tolist()),
            face.score,
        )
    left_out = len(rejected) - rejected_before
    if len(rows) == accepted_before:
        raise LafsError(f"'{planned.name}': all {left_out} images were rejected, first {'; '.join(reasons)}")
    if left_out:
        logger.warning("'%s': %d images rejected, first %s", planned.name, left_out, "; ".join(reasons))


def _aligned(planned: PlannedImages, threads: int) -> Iterator[tuple[int, AlignedFace | str]]:
    """Every wanted image in order: aligned, or the reason why not."""

    def align(index: int) -> tuple[int, AlignedFace | str]:
        if index in planned.refused:
            return index, planned.refused[index]
        try:
            return index, planned.intake.align(planned.source.read(index))
        except LafsError as error:
            return index, str(error)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(planned.wanted), _WINDOW):
            yield from pool.map(align, planned.wanted[start : start + _WINDOW])


def _add_pairs(name: str, drawn: pd.DataFrame, keys: list[str | None], pairs: TableBuilder) -> None:
    dropped = 0
    for number, pair in enumerate(drawn.itertuples()):
        if keys[pair.a] is None or keys[pair.b] is None:
            dropped += 1
        else:
            pairs.append(name, number, keys[pair.a], keys[pair.b], pair.is_same, pair.fold)
    if dropped:
        logger.warning("Benchmark '%s': %d of %d pairs have a rejected image.", name, dropped, len(drawn))
