"""Verification pairs: InsightFace's `.bin` sets, LFW's `pairs.txt`, and pairs drawn among identities."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces.pair_set_pickle import load_pair_set
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.sources.source import EncodedFace, read_image_file


@dataclass(frozen=True)
class PairSet:
    """Encoded images and what is true of their pairs.

    Attributes:
        images: 2n encoded images; images 2i and 2i + 1 are pair i.
        is_same: (n,) bool, whether a pair shows one person.
    """

    images: list[bytes]
    is_same: np.ndarray


class PairSetSource:
    """The images of an InsightFace `.bin`: numbered, without identities."""

    names_are_people = False

    def __init__(self, pair_set: PairSet) -> None:
        self.pair_set = pair_set

    def __len__(self) -> int:
        return len(self.pair_set.images)

    def key(self, index: int) -> str:
        """Number of the image; 2i and 2i + 1 are pair i."""
        return f"{index:06d}"

    def identity(self, index: int) -> None:
        """Not known."""
        return

    def read(self, index: int) -> EncodedFace:
        """The image."""
        return EncodedFace(self.pair_set.images[index])


def read_pair_set(path: Path | str) -> PairSet:
    """Read an InsightFace `.bin`: a pickle of (list of encoded images, list of is-same).

    Nothing in the pickle is run: the few names such a file needs (NumPy's byte and bool arrays, Python 2's
    bytes) stand for plain readers here, and any other name is refused. A `.rec` of
    :func:`lafs_pipeline.faces.packing.write_pair_set` is read as well.

    Raises:
        LafsError: The file is missing, is no such pickle, names anything else, or its counts do not match.
    """
    path = Path(path)
    if not path.is_file():
        raise LafsError(f"Pair set {path} does not exist.")
    if path.suffix == ".rec":
        return _read_pair_records(path)
    try:
        content = load_pair_set(read_image_file(path))
    except LafsError as error:
        raise LafsError(
            f"Pair set {path} was refused: {error}. A pair set holds images and booleans only."
        ) from None
    except Exception as error:
        raise LafsError(f"{path} is not a pair set (.bin of InsightFace: a pickle); {error}.") from error
    if not isinstance(content, list) or len(content) != 2:
        raise LafsError(
            f"{path} is not a pair set: expected (images, is-same), found {type(content).__name__}."
        )
    images, is_same = content
    if not isinstance(images, list) or not all(isinstance(image, bytes) and image for image in images):
        raise LafsError(f"{path} is not a pair set: its first part is not a list of encoded images.")
    if not isinstance(is_same, (list, bytes)) or not all(entry in (0, 1) for entry in is_same):
        raise LafsError(f"{path} is not a pair set: its second part is not a list of booleans.")
    if not is_same or len(images) != 2 * len(is_same):
        raise LafsError(f"{path}: {len(images)} images for {len(is_same)} pairs; expected two images a pair.")
    return PairSet(images, np.array(list(is_same), dtype=bool))


def _read_pair_records(path: Path) -> PairSet:
    reader = RecordIOReader(path)
    records = [reader.read_image(key) for key in np.sort(reader.keys)]
    labels = np.array([record.labels[0] if len(record.labels) else np.nan for record in records])
    if len(records) % 2 or not np.isin(labels, (0, 1)).all() or np.any(labels[::2] != labels[1::2]):
        raise LafsError(
            f"{path} is not a pair set: expected records 2i and 2i + 1 with the same label, 1 for one person "
            "and 0 for two."
        )
    return PairSet([record.encoded for record in records], labels[::2] == 1)


def read_pairs_txt(path: Path | str) -> pd.DataFrame:
    """Read pairs in LFW's format.

    The first line gives folds and pairs of each kind a fold (a single number means one fold). Each fold
    lists `name number number` for the same person, then `name number name number` for different people.

    Returns:
        One row a pair in file order: name_a, number_a, name_b, number_b, is_same (bool), fold (from 0). Names
        are composed (NFC), as the keys of folders are.

    Raises:
        LafsError: The file is missing, a line has another form, or the count is not what the first line says.
    """
    path = Path(path)
    try:
        lines = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig")).splitlines()
    except FileNotFoundError:
        raise LafsError(f"Pair list {path} does not exist.") from None
    except UnicodeDecodeError as error:
        raise LafsError(f"Pair list {path} is not a UTF-8 text file: {error}.") from error
    lines = [
        (number, line.split("\t") if "\t" in line else line.split()) for number, line in enumerate(lines, 1)
    ]
    lines = [(number, [field.strip() for field in fields]) for number, fields in lines if any(fields)]
    try:
        folds, each = ([1, *map(int, lines[0][1])])[-2:]
    except (IndexError, ValueError):
        raise LafsError(f"{path}, line 1: expected the number of folds and of pairs a fold.") from None
    rows = [_pair_row(path, number, fields) for number, fields in lines[1:]]
    if folds < 1 or each < 1 or len(rows) != folds * 2 * each:
        raise LafsError(
            f"{path}: line 1 announces {folds} folds of {each} same and {each} different pairs "
            f"({folds * 2 * each} lines), {len(rows)} pairs follow."
        )
    table = pd.DataFrame(rows, columns=["name_a", "number_a", "name_b", "number_b", "is_same"])
    return table.assign(fold=np.arange(len(rows)) // (2 * each))


def _pair_row(path: Path, line: int, fields: list[str]) -> tuple[str, int, str, int, bool]:
    try:
        if len(fields) == 3:
            return fields[0], int(fields[1]), fields[0], int(fields[2]), True
        name_a, number_a, name_b, number_b = fields
        return name_a, int(number_a), name_b, int(number_b), False
    except ValueError:
        raise LafsError(
            f"{path}, line {line}: expected 'name number number' or 'name number name number', not {fields}."
        ) from None


def draw_pairs(identities: Sequence[str] | np.ndarray, count: int, folds: int, seed: int) -> pd.DataFrame:
    """Draw verification pairs, half of the same and half of different identities, none of them twice.

    Same-identity pairs are spread as evenly over the identities as their images allow; different-identity
    pairs are uniform over all such pairs of images. Every fold has as many of both kinds.

    Args:
        identities: (n,) identity of each image.
        count: Number of pairs, a multiple of 2 * folds.
        folds: Number of contiguous folds.
        seed: Seed of the draw.

    Returns:
        `count` rows: a, b (int64, positions in `identities`), is_same (bool), fold (from 0).

    Raises:
        LafsError: The count cannot be split, or there are not that many pairs.
    """
    if folds < 1 or count < 1 or count % (2 * folds):
        raise LafsError(
            f"{count} pairs cannot be split into {folds} folds of as many same as different pairs."
        )
    _, codes, sizes = np.unique(np.asarray(identities, dtype=str), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    half = count // 2
    available = {
        "same-identity": int((sizes * (sizes - 1) // 2).sum()),
        "different-identity": int((len(codes) ** 2 - (sizes**2).sum()) // 2),
    }
    for kind, number in available.items():
        if number < half:
            raise LafsError(
                f"{half} {kind} pairs were asked for, but {len(sizes)} identities with {len(codes)} images "
                f"give only {number}. Ask for at most {2 * min(available.values())} pairs or give more."
            )
    generator = random_generator(seed, "pairs", count, folds)
    same = generator.permutation(order[_same_pairs(sizes, half, generator)])
    different = order[_different_pairs(sizes, half, generator)]
    rows = np.stack([same.reshape(folds, -1, 2), different.reshape(folds, -1, 2)], axis=1)
    a, b = rows.reshape(-1, 2).T
    is_same = np.tile(np.repeat([True, False], half // folds), folds)
    return pd.DataFrame(
        {"a": a, "b": b, "is_same": is_same, "fold": np.repeat(np.arange(folds), count // folds)}
    )


def _same_pairs(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 2) positions in images sorted by identity, as many of each identity as can be."""
    available = sizes * (sizes - 1) // 2
    level = 0
    while np.minimum(available, level + 1).sum() <= count:
        level += 1
        if level >= available.max():
            break
    quota = np.minimum(available, level)
    more = generator.permutation(np.flatnonzero(available > level))[: count - quota.sum()]
    quota[more] += 1
    starts = np.cumsum(sizes) - sizes
    pairs = []
    for identity in np.flatnonzero(quota):
        drawn = generator.choice(available[identity], quota[identity], replace=False)
        second = ((1 + np.sqrt(1 + 8 * drawn)) // 2).astype(np.int64)
        pairs.append(starts[identity] + np.column_stack([drawn - second * (second - 1) // 2, second]))
    return np.concatenate(pairs)


def _different_pairs(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 2) positions in images sorted by identity, each with one of a later identity."""
    ends = np.repeat(np.cumsum(sizes), sizes)
    partners = np.cumsum(ends[-1] - ends)
    drawn = generator.choice(partners[-1], count, replace=False)
    first = np.searchsorted(partners, drawn, side="right")
    return np.column_stack([first, ends[-1] - (partners[first] - drawn)])
