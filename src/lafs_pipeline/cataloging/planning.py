"""Before any image is read: which images of which source go to training and to which benchmark."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from lafs_pipeline.cataloging.intake import FaceIntake
from lafs_pipeline.cataloging.reasons import count_reasons
from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.protocols.held_out import held_out_pairs, hold_out_identities
from lafs_pipeline.protocols.ijb import IjbTree
from lafs_pipeline.protocols.open import BenchmarkSettings, FixedBenchmark, open_benchmark, read_groups
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.sources.open import SourceSettings, open_source
from lafs_pipeline.sources.source import Source

logger = logging.getLogger(__name__)


@settings
class CatalogSettings:
    """Where faces come from and what is evaluated on."""

    sources: dict[str, SourceSettings | None] = setting("Training images by name; null drops an entry", {})
    benchmarks: dict[str, BenchmarkSettings | None] = setting(
        "Verification pairs by name; null drops an entry", {}
    )
    check_images: bool = setting(
        "Decode every image once, to find unreadable ones now; else read headers", True
    )
    identities: Literal["apart", "merged"] = setting(
        "apart: people of different sources are different; merged: equal names (or numbers) are one person",
        "apart",
    )
    near_distance: int | None = setting(
        "Most differing bits of the perceptual hashes of near duplicates; null takes 10 for up to 100,000 "
        "images, 8 for up to 2,000,000 and 6 for more",
        None,
        ge=0,
        le=16,
    )
    near_similarity: float = setting(
        "Least correlation of the details of near duplicates", 0.9, ge=0.0, le=1.0
    )
    exclude_overlap: Literal["none", "images", "identities"] = setting(
        "What leaves training where it is a duplicate of a benchmark's image: nothing, the image, or all "
        "images of its identity",
        "images",
    )
    threads: int = setting("Threads that read, decode and align; 0 takes one per core", 0, ge=0)
    shard_images: int = setting(
        "Images after which finished work is kept, should the run break off", 8192, ge=1
    )

    def __post_init__(self):
        for name in ("sources", "benchmarks"):
            entries = {key: entry for key, entry in getattr(self, name).items() if entry and entry.is_given()}
            object.__setattr__(self, name, entries)

    @property
    def used_threads(self) -> int:
        """`threads`, or one a usable core."""
        return self.threads or usable_cores()


@dataclass
class PlannedImages:
    """The images of one source or benchmark, and what is to become of each.

    Attributes:
        name: Name of the source or benchmark.
        source: The images.
        intake: How they are aligned.
        identities: Identity of every image, None where not known.
        splits: Split of every image.
        wanted: Positions of the images that are needed.
        merged: Whether people of this name in other sources are the same.
        refused: Position -> reason, of images that are left out without being read.
    """

    name: str
    source: Source
    intake: FaceIntake
    identities: list[str | None]
    splits: list[str]
    wanted: Sequence[int]
    merged: bool
    refused: dict[int, str] = field(default_factory=dict)

    def key(self, index: int) -> str:
        """The image's key in the manifest."""
        return f"{self.name}/{self.source.key(index)}"

    def person(self, index: int) -> str | None:
        """The image's identity in the manifest."""
        identity = self.identities[index]
        return identity if identity is None or self.merged else f"{self.name}/{identity}"

    def indices(self, split: str) -> list[int]:
        """Positions of the wanted and not refused images of a split."""
        return [i for i in self.wanted if self.splits[i] == split and i not in self.refused]

    def people(self, split: str) -> set[str]:
        """Known identities of a split."""
        return {self.identities[i] for i in self.indices(split)} - {None}


@dataclass(frozen=True)
class Plan:
    """Everything that is to be ingested."""

    images: dict[str, PlannedImages]
    fixed: dict[str, FixedBenchmark]
    groups: dict[str, str]


def plan_catalog(settings: CatalogSettings, seed: int, index_folder: Path | str | None = None) -> Plan:
    """Open every source and benchmark and settle the split of every image.

    Raises:
        LafsError: A name or path is wrong, or there are too few identities or images for what is asked.
    """
    _check_names(settings)
    images = {
        name: _planned_source(name, source, settings, seed, index_folder)
        for name, source in settings.sources.items()
    }
    fixed = {}
    for name, benchmark in settings.benchmarks.items():
        if benchmark.kind == "held_out":
            _hold_out(name, benchmark, images, seed)
            continue
        fixed[name] = open_benchmark(name, benchmark, seed)
        images[name] = _planned_benchmark(name, fixed[name], settings)
    _keep_benchmarks_out_of_training(settings, images)
    _check_training_identities(settings, images)
    return Plan(images, fixed, _groups(settings))


def _check_names(settings: CatalogSettings) -> None:
    if not settings.sources and not settings.benchmarks:
        raise LafsError("Neither sources nor benchmarks are set: there is nothing to catalog.")
    both = set(settings.sources) & set(settings.benchmarks)
    if both:
        raise LafsError(f"Source and benchmark share the name {sorted(both)}; every name must be unique.")
    for name in [*settings.sources, *settings.benchmarks]:
        if not name or "/" in name:
            raise LafsError(
                f"'{name}' cannot be the name of a source or benchmark: it is empty or has a '/'."
            )
    if TRAIN in settings.benchmarks:
        raise LafsError(f"A benchmark cannot be called '{TRAIN}', the name of the training split.")


def _intake(what: str, settings: SourceSettings, check_images: bool, check_points: bool = True) -> FaceIntake:
    try:
        return FaceIntake(settings, check_images, check_points)
    except LafsError as error:
        raise LafsError(f"{what}: {error}") from error


def _planned_source(
    name: str,
    source_settings: SourceSettings,
    settings: CatalogSettings,
    seed: int,
    index_folder: Path | str | None,
) -> PlannedImages:
    intake = _intake(f"Source '{name}'", source_settings, settings.check_images)
    source = open_source(name, source_settings, seed, index_folder)
    known: dict[str | None, str | None] = {}
    identities: list[str | None] = []
    refused = {}
    for index in range(len(source)):
        try:
            identity = source.identity(index)
            identities.append(known.setdefault(identity, identity))
        except LafsError as error:
            identities.append(None)
            refused[index] = str(error)
    merged = settings.identities == "merged"
    return PlannedImages(
        name, source, intake, identities, [TRAIN] * len(source), range(len(source)), merged, refused
    )


def _planned_benchmark(name: str, opened: FixedBenchmark, settings: CatalogSettings) -> PlannedImages:
    source, tree = opened.source, opened.templates
    needs_points = not isinstance(tree, IjbTree)  # which has them
    used = range(len(source)) if tree else np.unique(opened.pairs[["a", "b"]].to_numpy()).tolist()
    return PlannedImages(
        name=name,
        source=source,
        intake=_intake(f"Benchmark '{name}'", opened.settings, settings.check_images, needs_points),
        identities=[source.identity(index) for index in range(len(source))],
        splits=[name] * len(source),
        wanted=used,
        merged=settings.identities == "merged",
        refused=dict.fromkeys(tree.missing, "its file does not exist") if tree else {},
    )


def _groups(settings: CatalogSettings) -> dict[str, str]:
    groups: dict[str, str] = {}
    for name, benchmark in settings.benchmarks.items():
        if benchmark.groups is not None:
            source = benchmark.source if benchmark.kind == "held_out" else name
            try:
                found = read_groups(benchmark.groups)
            except LafsError as error:
                raise LafsError(f"Benchmark '{name}': {error}") from error
            groups |= {f"{source}/{key}": group for key, group in found.items()}
    return groups


def _hold_out(name: str, settings: BenchmarkSettings, images: dict[str, PlannedImages], seed: int) -> None:
    if settings.source not in images:
        raise LafsError(
            f"Benchmark '{name}': there is no source '{settings.source}' to hold identities out of; "
            f"sources are {', '.join(images) or 'none'}."
        )
    planned = images[settings.source]
    chosen = set(hold_out_identities(name, settings, sorted(planned.people(TRAIN)), seed))
    for index in planned.indices(TRAIN):
        if planned.identities[index] in chosen:
            planned.splits[index] = name
    held_out_pairs(name, settings, [planned.identities[index] for index in planned.indices(name)], seed)


def _keep_benchmarks_out_of_training(settings: CatalogSettings, images: dict[str, PlannedImages]) -> None:
    people = [p for p in images.values() if p.source.names_are_people or settings.identities == "merged"]
    benchmark_of = {
        _folder_name(identity): benchmark
        for benchmark in settings.benchmarks
        for planned in people
        for identity in planned.people(benchmark)
    }
    for planned in people:
        for index in planned.indices(TRAIN):
            identity = planned.identities[index]
            if identity and _folder_name(identity) in benchmark_of:
                benchmark = benchmark_of[_folder_name(identity)]
                planned.refused[index] = f"identity {identity} also belongs to benchmark '{benchmark}'"


def _folder_name(identity: str) -> str:
    return identity.rsplit("/", 1)[-1]


def _check_training_identities(settings: CatalogSettings, images: dict[str, PlannedImages]) -> None:
    sources = [images[name] for name in settings.sources]
    if not sources:
        return
    if not any(planned.indices(TRAIN) for planned in sources):
        reasons = [(planned.key(i), why) for planned in sources for i, why in planned.refused.items()]
        said = count_reasons(reasons) or "all are held out for benchmarks"
        raise LafsError(
            f"No image is left for training: {said}. Give identities that no benchmark has, or fewer "
            "`identities` to the held-out benchmark."
        )
    people = {planned.person(index) for planned in sources for index in planned.indices(TRAIN)} - {None}
    for planned in sources:
        count = len(planned.indices(TRAIN))
        if count > 1 and len(planned.people(TRAIN)) == count:
            logger.warning(
                "'%s': each of the %d images has an identity of its own, so that its labels teach nothing; "
                "where they only number the images set `labeled: false`",
                *(planned.name, count),
            )
    if len(people) == 1:
        raise LafsError(
            f"The training images are all of one identity, {people.pop()}; labels need at least two. Put "
            "each person in a folder of their own, or set `labeled: false`."
        )
