"""Sources and benchmarks become a manifest, a packed file, and lists of what is compared and doubled."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lafs_pipeline.cataloging.comparisons import compare, with_groups
from lafs_pipeline.cataloging.duplicates import find_duplicates
from lafs_pipeline.cataloging.overlap import exclude_overlap, find_overlap
from lafs_pipeline.cataloging.planning import CatalogSettings, Plan, PlannedImages, plan_catalog
from lafs_pipeline.cataloging.shards import STORED_TYPES, ShardFolder, pack_stores
from lafs_pipeline.faces.manifest import (
    MANIFEST_TYPES,
    REJECTED_TYPES,
    TRAIN,
    TableBuilder,
    join_tables,
    typed_table,
)
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalog:
    """What cataloging yields.

    Attributes:
        manifest: One row an image; columns in :mod:`lafs_pipeline.faces.manifest`, and `group` where a
            benchmark has groups.
        rejected: source, key, reason of every image that was left out.
        pairs: benchmark, pair (from 0, in file order), key_a, key_b, is_same, fold (missing for none).
        templates: Of benchmarks that compare templates: benchmark, key, template, media, score.
        template_pairs: benchmark, template_a, template_b, is_same.
        template_subjects: Galleries and probes: benchmark, template, subject, role (`probe`, or the gallery).
        protocols: One row a benchmark: kind, alignment, and how many lines of its files, images, templates
            and pairs were left out, duplicate pairs among the last.
        duplicates: As :func:`find_duplicates`, of all images that could be used.
        overlap: As :func:`find_overlap`, of training images with benchmarks, before any exclusion.
    """

    manifest: pd.DataFrame
    rejected: pd.DataFrame
    pairs: pd.DataFrame
    templates: pd.DataFrame
    template_pairs: pd.DataFrame
    template_subjects: pd.DataFrame
    protocols: pd.DataFrame
    duplicates: pd.DataFrame
    overlap: pd.DataFrame


def catalog_faces(settings: CatalogSettings, seed: int, packed_path: Path | str) -> Catalog:
    """Ingest all sources and benchmarks in one pass over their images.

    Aligned faces in RecordIO files are read in place. All others are packed into the RecordIO file
    `packed_path`: 112 x 112 JPEG and PNG files as they are, others aligned or resized and written as JPEG of
    quality 95; the label of a record is the number of its identity among all sorted ones, -1 for none. Images
    that cannot be used are listed with the reason, and the run goes on. No identity of a benchmark stays in
    training, not even under the same folder name in another source, and no duplicate of a benchmark's image.

    Finished work lies in the folder `<packed_path>.parts` until all is done: a run that broke off goes on
    from there, as far as nothing that decides about an image has changed.

    Raises:
        LafsError: Names or paths are wrong, all images of a source were rejected, there are too few
            identities or images for what is asked, or a file cannot be written. `packed_path` is as it was
            then.
    """
    packed_path = Path(packed_path)
    folder = packed_path.with_name(f"{packed_path.name}.parts")
    threads = settings.threads or usable_cores()
    plan = plan_catalog(settings, seed, packed_path.parent)
    manifest, rejected = _ingest(plan, ShardFolder(folder, settings.shard_images, seed), threads)
    compared = compare(settings, plan, manifest, seed)
    duplicates = find_duplicates(manifest, settings.near_distance, settings.near_similarity, threads)
    overlap = find_overlap(manifest, duplicates)
    manifest, excluded = exclude_overlap(manifest, overlap, settings.exclude_overlap)
    if settings.sources and not (manifest["split"] == TRAIN).any():
        raise LafsError(
            "No image is left for training: all are duplicates of benchmark images. Check that source and "
            "benchmark are not the same images, or set `exclude_overlap: none`."
        )
    manifest = pack_stores(with_groups(manifest, plan.groups), folder, packed_path)
    shutil.rmtree(folder, ignore_errors=True)
    return Catalog(
        manifest,
        join_tables([rejected, excluded]),
        **vars(compared),
        duplicates=duplicates,
        overlap=overlap,
    )


def _ingest(plan: Plan, shards: ShardFolder, threads: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest with the stores of the shards, and rejected images."""
    everyone = {
        planned.person(index)
        for planned in plan.images.values()
        for index in planned.wanted
        if index not in planned.refused
    }
    labels = {name: number for number, name in enumerate(sorted(everyone - {None}))}
    rejected = TableBuilder(REJECTED_TYPES)
    total = sum(len(planned.wanted) for planned in plan.images.values())
    tables = []
    with tqdm(total=total, unit="image", desc="cataloging", disable=None) as progress:
        for planned in plan.images.values():
            accepted_before, rejected_before = sum(map(len, tables)), len(rejected)
            reasons: list[str] = []
            for indices, table in shards.ingest(planned, labels, threads, progress):
                tables.append(_manifest_rows(planned, table))
                refused = table[table["reason"].notna()].set_index("index")["reason"].to_dict()
                refused |= {index: planned.refused[index] for index in indices if index in planned.refused}
                for index, reason in sorted(refused.items()):
                    rejected.append(planned.name, planned.key(index), reason)
                    reasons = [*reasons, f"{planned.key(index)}: {reason}"][:3]
            left_out = len(rejected) - rejected_before
            if sum(map(len, tables)) == accepted_before:
                raise LafsError(
                    f"'{planned.name}': all {left_out} images were rejected, first {'; '.join(reasons)}"
                )
            if left_out:
                logger.warning(
                    "'%s': %d images rejected, first %s", planned.name, left_out, "; ".join(reasons)
                )
    return join_tables(tables), rejected.table()


def _manifest_rows(planned: PlannedImages, table: pd.DataFrame) -> pd.DataFrame:
    table = table[table["reason"].isna()]
    index = table["index"].tolist()
    own = {
        "key": [planned.key(i) for i in index],
        "identity": [planned.person(i) for i in index],
        "source": [planned.name] * len(index),
        "split": [planned.splits[i] for i in index],
    }
    types = {name: MANIFEST_TYPES[name] for name in own}
    stored = table[list(STORED_TYPES)].reset_index(drop=True)
    return pd.concat([typed_table(types, list(own.values())), stored], axis=1)
