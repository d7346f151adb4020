"""What a benchmark is made of: its images, and which of them are compared."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lafs_pipeline.faces.alignment import FaceChoice
from lafs_pipeline.faces.decode import ChannelOrder
from lafs_pipeline.protocols.ijb import IjbTree, open_ijb
from lafs_pipeline.protocols.ijb_files import OnMissing
from lafs_pipeline.protocols.pair_lists import (
    read_cfp_pairs,
    read_cross_lfw_pairs,
    read_lfw_pairs,
    read_pairs_csv,
)
from lafs_pipeline.protocols.pair_sets import PairSetSource, read_pair_set
from lafs_pipeline.protocols.tinyface import TinyFaceTree, open_tinyface
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.sources.open import SourceSettings, keep_local, open_source
from lafs_pipeline.sources.source import EncodedFace, Source

logger = logging.getLogger(__name__)

Kind = Literal["held_out", "pairs_txt", "pairs_csv", "cfp", "cross_lfw", "bin", "ijb", "tinyface"]
_NEEDED = dict.fromkeys(["pairs_txt", "pairs_csv", "cfp", "cross_lfw", "tinyface"], ("path", "pairs_file"))
_PERSON = {"cfp": r"^(\d+)/", "cross_lfw": r"([^/]+)_\d+\.[^./]+$"}


@settings
class BenchmarkSettings:
    """One set of verification pairs, or of templates."""

    kind: Kind = setting(
        "held_out: identities of a source kept out of training; pairs_txt: a folder and a list as LFW's; "
        "pairs_csv: a folder and a CSV of a,b,is_same and perhaps fold; cfp: CFP's folder of images and its "
        "Protocol folder; cross_lfw: the folder and list of CALFW or CPLFW; bin: an InsightFace pair set; "
        "ijb: the tree of IJB-B or IJB-C; tinyface: the images and lists of TinyFace's Testing_Set",
        "held_out",
    )
    source: str | None = setting("held_out: name of the source that gives the identities", None)
    identities: float = setting("held_out: share (below 1) or number of the source's identities", 0.1, gt=0.0)
    pairs: int = setting("held_out: number of pairs, half of them of the same person", 1000, ge=2)
    folds: int = setting("number of folds where a list names none, or one alone", 10, ge=2)
    path: str | None = setting("folder of images; bin: the file; ijb: holds loose_crop and meta", None)
    pairs_file: str | None = setting(
        "the list of pairs; cfp: the folder Protocol; tinyface: the folder of both .mat lists", None
    )
    protocol: Literal["FF", "FP"] = setting("cfp: frontal with frontal, or frontal with profile", "FP")
    extension: str = setting(
        "what file names end with; for images that are listed with another ending, too", ".jpg"
    )
    identity_pattern: str | None = setting(
        "regular expression whose first group is the person in an image's path; null takes the sub-folder",
        None,
    )
    optional: bool = setting("leave the benchmark out where `path` and `pairs_file` are null", False)
    aligned: bool = setting("whether the faces are cropped to the ArcFace template already", False)
    points: str | None = setting("CSV of five points per image, as of a source", None)
    detector: str | None = setting("YuNet ONNX file, as of a source", None)
    min_score: float = setting("lowest detector score", 0.6, ge=0.0, le=1.0)
    choose_face: FaceChoice = setting("which of several faces is taken", "largest")
    channel_order: ChannelOrder = setting("what the images decode to", "rgb")
    groups: str | None = setting("CSV of key,group: images' groups, each also evaluated alone", None)
    on_missing: OnMissing = setting(
        "error or exclude (and count): listed images that are not there; ijb: also damaged lines and images, "
        "templates without images, pairs listed twice",
        "error",
    )

    def __post_init__(self):
        keep_local(self, "path", "pairs_file", "points", "detector", "groups")

    def is_given(self) -> bool:
        """Whether it is there to be opened."""
        return not self.optional or self.path is not None or self.pairs_file is not None


@dataclass(frozen=True)
class FixedBenchmark:
    """A benchmark that brings its own images.

    Attributes:
        source: The images.
        settings: How to align them.
        pairs: a, b (positions in the source), is_same, fold (missing for none), in file order.
        templates: In place of pairs, of a template benchmark.
        missing: Listed images that are not there.
        missing_pairs: Listed pairs that need those.
    """

    source: Source
    settings: SourceSettings
    pairs: pd.DataFrame | None = None
    templates: IjbTree | TinyFaceTree | None = None
    missing: int = 0
    missing_pairs: int = 0


class NamedPeople:
    """A source whose images tell the person by their names.

    Raises:
        LafsError: The pattern is none, or has no group.
    """

    def __init__(self, source: Source, pattern: str) -> None:
        self.source = source
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise LafsError(f"`identity_pattern` {pattern!r} is no regular expression: {error}.") from error
        if not self.pattern.groups:
            raise LafsError(f"`identity_pattern` {pattern!r} has no group; put the person in parentheses.")
        people = (self.identity(index) for index in range(len(source)))
        self.names_are_people = any(person and not person.isdigit() for person in people)

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        """As the source's."""
        return self.source.key(index)

    def identity(self, index: int) -> str | None:
        """What the pattern finds in the key."""
        found = self.pattern.search(self.source.key(index))
        return found[1] if found else None

    def read(self, index: int) -> EncodedFace:
        """As the source's."""
        return self.source.read(index)


def open_benchmark(name: str, settings: BenchmarkSettings, seed: int) -> FixedBenchmark:
    """Open a benchmark of any kind but `held_out`.

    Raises:
        LafsError: A file is missing or damaged, or the list names images that are not in the folder.
    """
    for key in _NEEDED.get(settings.kind, ("path",)):
        if not getattr(settings, key):
            raise LafsError(f"Benchmark '{name}': `{key}` is not set; a {settings.kind} benchmark needs one.")
    if settings.kind == "bin":
        return _open_pair_set(settings)
    try:
        if settings.kind == "tinyface":
            return _open_tinyface(settings)
        return _open_ijb(settings) if settings.kind == "ijb" else _open_list(name, settings, seed)
    except LafsError as error:
        raise LafsError(f"Benchmark '{name}': {error}") from error


def describe_alignment(settings: SourceSettings) -> str:
    """What faces were aligned to, and by which points."""
    if settings.aligned or settings.kind == "synthetic":
        points = "as given"
    else:
        ways = ["given points" if settings.points else "", Path(settings.detector or "").name]
        points = ", else ".join(filter(None, ways))
    return f"arcface-112, {points}"


def _open_pair_set(settings: BenchmarkSettings) -> FixedBenchmark:
    pair_set = read_pair_set(settings.path)
    count = len(pair_set.is_same)
    numbers = np.arange(count)
    folds = numbers * settings.folds // count
    pairs = {"a": 2 * numbers, "b": 2 * numbers + 1, "is_same": pair_set.is_same, "fold": folds}
    alignment = SourceSettings(path=settings.path, aligned=True, channel_order=settings.channel_order)
    return FixedBenchmark(PairSetSource(pair_set), alignment, pd.DataFrame(pairs))


def _open_ijb(settings: BenchmarkSettings) -> FixedBenchmark:
    tree = open_ijb(settings.path, settings.on_missing)
    alignment = SourceSettings(
        path=str(tree.images.folder),
        aligned=settings.aligned,
        points=str(tree.points_file),
        channel_order=settings.channel_order,
    )
    return FixedBenchmark(tree.images, alignment, templates=tree)


def _open_tinyface(settings: BenchmarkSettings) -> FixedBenchmark:
    tree = open_tinyface(settings.path, settings.pairs_file, settings.points)
    return FixedBenchmark(tree.images, _alignment(settings), templates=tree)


def _alignment(settings: BenchmarkSettings) -> SourceSettings:
    """How loose images are aligned."""
    names = ("path", "aligned", "points", "detector", "min_score", "choose_face", "channel_order")
    return SourceSettings(**{name: getattr(settings, name) for name in names})


def _open_list(name: str, settings: BenchmarkSettings, seed: int) -> FixedBenchmark:
    alignment = _alignment(settings)
    source: Source = open_source(name, alignment, seed)
    pattern = settings.identity_pattern or _PERSON.get(settings.kind)
    if pattern:
        source = NamedPeople(source, pattern)
    listed = _listed_pairs(settings)
    positions = {source.key(index): index for index in range(len(source))}
    places = {
        side: [_position(image, settings.extension, positions) for image in listed[f"name_{side}"]]
        for side in "ab"
    }
    absent = list(
        dict.fromkeys(
            image
            for side in "ab"
            for image, place in zip(listed[f"name_{side}"], places[side], strict=True)
            if place is None
        )
    )
    if absent and settings.on_missing == "error":
        raise LafsError(
            f"{len(absent)} images named in {settings.pairs_file} are not in {settings.path}: "
            f"{', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. Check `path` and `extension`, or "
            "set `on_missing: exclude`."
        )
    pairs = listed[["is_same", "fold"]].assign(**{side: pd.array(places[side], "Int64") for side in "ab"})
    whole = pairs.dropna(subset=["a", "b"]).astype({"a": "int64", "b": "int64"})
    if not len(whole):
        raise LafsError(f"none of the pairs of {settings.pairs_file} has both images in {settings.path}.")
    whole = _with_folds(whole, settings)
    return FixedBenchmark(source, alignment, whole, None, len(absent), len(pairs) - len(whole))


def _with_folds(pairs: pd.DataFrame, settings: BenchmarkSettings) -> pd.DataFrame:
    """Pairs in folds, of which a threshold needs two; those of one fold alone are cut, each kind evenly."""
    if pairs["fold"].nunique() > 1:
        return pairs
    place = pairs.groupby("is_same").cumcount()
    count = pairs.groupby("is_same")["is_same"].transform("size")
    logger.info(
        "%s has one fold; its pairs of each kind are cut into %d", settings.pairs_file, settings.folds
    )
    return pairs.assign(fold=(place * settings.folds // count).astype("Int64"))


def _listed_pairs(settings: BenchmarkSettings) -> pd.DataFrame:
    if settings.kind == "pairs_txt":
        return read_lfw_pairs(settings.pairs_file, settings.extension)
    if settings.kind == "cfp":
        return read_cfp_pairs(settings.pairs_file, settings.protocol)
    read = read_pairs_csv if settings.kind == "pairs_csv" else read_cross_lfw_pairs
    return read(settings.pairs_file, settings.folds)


def _position(image: str, extension: str, positions: dict[str, int]) -> int | None:
    """Where an image stands; aligned copies may have another ending than the list says."""
    place = positions.get(image)
    return positions.get(f"{image.rpartition('.')[0]}{extension}") if place is None else place


def read_groups(path: Path | str) -> dict[str, str]:
    """Group by image, from a CSV with the columns key and group.

    Raises:
        LafsError: The file is missing or has another form, or a group has other than letters, digits, blanks
            and `_.:-` in its name.
    """
    try:
        table = pd.read_csv(path, dtype=str)[["key", "group"]].dropna()
    except FileNotFoundError:
        raise LafsError(f"list of groups {path} does not exist.") from None
    except (KeyError, ValueError, OSError) as error:
        raise LafsError(f"list of groups {path}: expected a CSV of key,group ({error}).") from error
    odd = [group for group in table["group"].unique() if not re.fullmatch(r"[\w .:-]+", group)]
    if odd:
        raise LafsError(f"list of groups {path}: {odd[0]!r} cannot be a name; use letters, digits, ' _.:-'.")
    return dict(zip(table["key"], table["group"], strict=True))
