"""Sources and benchmarks become a manifest of images in shards, and lists of what is compared and doubled."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lafs_pipeline.cataloging.comparisons import Comparisons, compare, with_groups
from lafs_pipeline.cataloging.duplicates import find_duplicates
from lafs_pipeline.cataloging.overlap import exclude_overlap, find_overlap
from lafs_pipeline.cataloging.planning import CatalogSettings, Plan, PlannedImages, plan_catalog
from lafs_pipeline.cataloging.shards import STORED_TYPES, ShardFolder
from lafs_pipeline.faces.manifest import (
    MANIFEST_TYPES,
    REJECTED_TYPES,
    TRAIN,
    TableBuilder,
    join_tables,
    typed_table,
)
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

STORE_TYPES = {"source": "string", "store": "string", "images": "int64"}


@dataclass(frozen=True)
class Ingested(Comparisons):
    """All images that can be used, and what benchmarks compare.

    Attributes:
        manifest: One row per image; columns in :mod:`lafs_pipeline.faces.manifest`, and `group` where a
            benchmark has groups.
        rejected: source, key, reason of every image that cannot be used.
        stores: source, store (file) and images (usable or not) of every shard.
    """

    manifest: pd.DataFrame
    rejected: pd.DataFrame
    stores: pd.DataFrame


@dataclass(frozen=True)
class Catalog(Ingested):
    """What cataloging yields: images that overlap with a benchmark have left the manifest.

    Attributes:
        duplicates: As :func:`find_duplicates`, of all images that could be used.
        overlap: As :func:`find_overlap`, of training images with benchmarks, before any exclusion.
    """

    duplicates: pd.DataFrame
    overlap: pd.DataFrame


def catalog_faces(settings: CatalogSettings, seed: int, stores: Path | str) -> Catalog:
    """Ingest all sources and benchmarks, find duplicates, and keep images of benchmarks out of training.

    No identity of a benchmark stays in training, not even under the same folder name in another source, and
    no duplicate of a benchmark's image.
    """
    ingested = ingest_faces(settings, seed, stores)
    duplicates = find_duplicates(
        ingested.manifest, settings.near_distance, settings.near_similarity, settings.used_threads
    )
    overlap = find_overlap(ingested.manifest, duplicates)
    manifest, rejected = leave_overlap_out(settings, ingested.manifest, overlap, ingested.rejected)
    found = vars(ingested) | {"manifest": manifest, "rejected": rejected}
    return Catalog(**found, duplicates=duplicates, overlap=overlap)


def ingest_faces(settings: CatalogSettings, seed: int, stores: Path | str) -> Ingested:
    """Ingest all sources and benchmarks in one pass over their images.

    Aligned faces in RecordIO files are read in place. All others are written into RecordIO files in the
    folder `stores`: 112 x 112 JPEG and PNG files as they are, others aligned or resized and written as JPEG
    of quality 95; their records have no label. Images that cannot be used are listed with the reason, and the
    run goes on.

    What is in the folder is taken as it is, as far as nothing that decides about an image has changed: a run
    that broke off is resumed, and a source that is already there is not read again.

    Raises:
        LafsError: Names or paths are wrong, all images of a source were rejected, there are too few
            identities or images for what is asked, or a file cannot be written.
    """
    stores = Path(stores)
    plan = plan_catalog(settings, seed, stores.parent)
    shards = ShardFolder(stores, settings.shard_images, seed)
    manifest, rejected, written = _ingest(plan, shards, settings.used_threads)
    compared = vars(compare(settings, plan, manifest, seed))
    grouped = with_groups(manifest, plan.groups)
    return Ingested(**compared, manifest=grouped, rejected=rejected, stores=written)


def leave_overlap_out(
    settings: CatalogSettings, manifest: pd.DataFrame, overlap: pd.DataFrame, rejected: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest without training images that a benchmark holds, by the rule of the settings.

    Returns:
        The manifest, and the rejected images with those that were left out.

    Raises:
        LafsError: No image is left for training.
    """
    kept, excluded = exclude_overlap(manifest, overlap, settings.exclude_overlap)
    if settings.sources and not (kept["split"] == TRAIN).any():
        raise LafsError(
            "No image is left for training: all are duplicates of benchmark images. Check that source and "
            "benchmark are not the same images, or set `exclude_overlap: none`."
        )
    return kept, join_tables([rejected, excluded])


def _ingest(plan: Plan, shards: ShardFolder, threads: int) -> tuple[pd.DataFrame, ...]:
    """Manifest, rejected images, and the shards."""
    rejected, stores = TableBuilder(REJECTED_TYPES), TableBuilder(STORE_TYPES)
    total = sum(len(planned.wanted) for planned in plan.images.values())
    tables: list[pd.DataFrame] = []
    with tqdm(total=total, unit="image", desc="cataloging", disable=None) as progress:
        for planned in plan.images.values():
            accepted_before, rejected_before = sum(len(part) for part in tables), len(rejected)
            reasons: list[str] = []
            for store, indices, table in shards.ingest(planned, threads, progress):
                stores.append(planned.name, str(store), len(indices))
                tables.append(_manifest_rows(planned, table))
                refused = table[table["reason"].notna()].set_index("index")["reason"].to_dict()
                refused |= {index: planned.refused[index] for index in indices if index in planned.refused}
                for index, reason in sorted(refused.items()):
                    rejected.append(planned.name, planned.key(index), reason)
                    reasons = [*reasons, f"{planned.key(index)}: {reason}"][:3]
            left_out = len(rejected) - rejected_before
            if sum(len(part) for part in tables) == accepted_before:
                raise LafsError(
                    f"'{planned.name}': all {left_out} images were rejected, first {'; '.join(reasons)}"
                )
            if left_out:
                logger.warning(
                    "'%s': %d images rejected, first %s", planned.name, left_out, "; ".join(reasons)
                )
    return join_tables(tables), rejected.table(), stores.table()


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
