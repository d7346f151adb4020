"""What a verification benchmark is made of: its images, and which of them are compared."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lafs_pipeline.faces.alignment import FaceChoice
from lafs_pipeline.faces.decode import ChannelOrder
from lafs_pipeline.faces.pair_sets import read_pair_set, read_pairs_txt
from lafs_pipeline.faces.sources import FolderSource, PairSetSource, Source, SourceSettings, open_source
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.runtime.settings import setting, settings


@settings
class BenchmarkSettings:
    """One set of verification pairs."""

    kind: Literal["held_out", "pairs_txt", "bin"] = setting(
        "held_out: identities of a source kept out of training; pairs_txt: a folder and a list as LFW's; "
        "bin: an InsightFace pair set",
        "held_out",
    )
    source: str | None = setting("held_out: name of the source that gives the identities", None)
    identities: float = setting("held_out: share (below 1) or number of the source's identities", 0.1, gt=0.0)
    pairs: int = setting("held_out: number of pairs, half of them of the same person", 1000, ge=2)
    folds: int = setting("held_out and bin: number of contiguous folds", 10, ge=1)
    path: str | None = setting("pairs_txt: folder of images; bin: the file", None)
    pairs_file: str | None = setting("pairs_txt: the list of pairs", None)
    extension: str = setting("pairs_txt: what follows <name>/<name>_<0001> in file names", ".jpg")
    aligned: bool = setting("pairs_txt: whether the faces are cropped to the ArcFace template already", False)
    points: str | None = setting("pairs_txt: CSV of five points an image, as of a source", None)
    detector: str | None = setting("pairs_txt: YuNet ONNX file, as of a source", None)
    min_score: float = setting("pairs_txt: lowest detector score", 0.6, ge=0.0, le=1.0)
    choose_face: FaceChoice = setting("pairs_txt: which of several faces is taken", "largest")
    channel_order: ChannelOrder = setting("pairs_txt and bin: what the images decode to", "rgb")


@dataclass(frozen=True)
class FixedBenchmark:
    """A benchmark that brings its own images.

    Attributes:
        source: The images.
        settings: How to align them.
        pairs: a, b (positions in the source), is_same, fold (missing for none), in file order.
    """

    source: Source
    settings: SourceSettings
    pairs: pd.DataFrame


def open_benchmark(name: str, settings: BenchmarkSettings, seed: int) -> FixedBenchmark:
    """Open a `pairs_txt` or `bin` benchmark.

    Raises:
        LafsError: A file is missing or damaged, or the list names images that are not in the folder.
    """
    needed = ("path", "pairs_file") if settings.kind == "pairs_txt" else ("path",)
    for key in needed:
        if not getattr(settings, key):
            raise LafsError(f"Benchmark '{name}': `{key}` is not set; a {settings.kind} benchmark needs one.")
    if settings.kind == "bin":
        pair_set = read_pair_set(settings.path)
        count = len(pair_set.is_same)
        numbers = np.arange(count)
        folds = (
            numbers * settings.folds // count
            if count >= settings.folds
            else pd.array([None] * count, "Int64")
        )
        pairs = {"a": 2 * numbers, "b": 2 * numbers + 1, "is_same": pair_set.is_same, "fold": folds}
        alignment = SourceSettings(path=settings.path, aligned=True, channel_order=settings.channel_order)
        return FixedBenchmark(PairSetSource(pair_set), alignment, pd.DataFrame(pairs))
    alignment = SourceSettings(
        path=settings.path,
        aligned=settings.aligned,
        points=settings.points,
        detector=settings.detector,
        min_score=settings.min_score,
        choose_face=settings.choose_face,
        channel_order=settings.channel_order,
    )
    source = open_source(name, alignment, seed)
    return FixedBenchmark(source, alignment, _listed_pairs(name, settings, source))


def _listed_pairs(name: str, settings: BenchmarkSettings, source: FolderSource) -> pd.DataFrame:
    pairs = read_pairs_txt(settings.pairs_file)
    positions = {source.key(index): index for index in range(len(source))}
    keys = {
        side: [
            f"{person}/{person}_{number:04d}{settings.extension}"
            for person, number in zip(pairs[f"name_{side}"], pairs[f"number_{side}"], strict=True)
        ]
        for side in "ab"
    }
    absent = list(dict.fromkeys(key for key in keys["a"] + keys["b"] if key not in positions))
    if absent:
        raise LafsError(
            f"Benchmark '{name}': {len(absent)} images named in {settings.pairs_file} are not in "
            f"{settings.path}: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}."
            " Check `path` and `extension`."
        )
    return pairs[["is_same", "fold"]].assign(**{side: [positions[k] for k in keys[side]] for side in "ab"})


def hold_out_identities(
    name: str, settings: BenchmarkSettings, identities: list[str], seed: int
) -> list[str]:
    """Choose identities of a source for a `held_out` benchmark, seeded by `seed` and `name`.

    Raises:
        LafsError: There are too few identities to hold some out and leave some for training.
    """
    share = settings.identities
    number = max(2, round(share * len(identities))) if share < 1 else int(share)
    if number < 2 or number >= len(identities):
        raise LafsError(
            f"Benchmark '{name}': {number} identities are to be held out of source '{settings.source}', "
            f"which has {len(identities)} for it. Hold out at least 2 and leave some for training."
        )
    chosen = random_generator(seed, "held out", name).choice(len(identities), number, replace=False)
    return [sorted(identities)[index] for index in chosen]
