"""Lists of pairs of image files: a plain CSV, and those that LFW, CFP, CALFW and CPLFW come with.

All readers but :func:`read_pairs_txt` give one row per pair in file order: name_a, name_b (as the
list writes them, composed by NFC), is_same (bool), fold (from 0).
"""

import csv
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lafs_pipeline.runtime.errors import LafsError

PAIR_COLUMNS = ["name_a", "name_b", "is_same", "fold"]
_TRUTHS = {"1": True, "true": True, "same": True, "0": False, "false": False, "different": False}


def read_lfw_pairs(path: Path | str, extension: str) -> pd.DataFrame:
    """Read LFW's `pairs.txt` (:func:`read_pairs_txt`); images are `<name>/<name>_<0001><extension>`."""
    pairs = read_pairs_txt(path)
    for side in "ab":
        numbers = pairs[f"number_{side}"].map("{:04d}".format)
        pairs[f"name_{side}"] += "/" + pairs[f"name_{side}"] + "_" + numbers + extension
    return pairs[PAIR_COLUMNS]


def read_pairs_txt(path: Path | str) -> pd.DataFrame:
    """Read pairs in LFW's format.

    The first line gives folds and pairs of each kind a fold (a single number means one fold). Each fold
    lists `name number number` for the same person, then `name number name number` for different people.

    Returns:
        One row per pair in file order: name_a, number_a, name_b, number_b, is_same (bool), fold (from 0).
        Names are composed (NFC), as the keys of folders are.

    Raises:
        LafsError: The file is missing, a line has another form, or the count is not what the first line says.
    """
    lines = [
        (number, line.split("\t") if "\t" in line else line.split())
        for number, line in enumerate(_lines(path), 1)
    ]
    lines = [(number, [field.strip() for field in fields]) for number, fields in lines if any(fields)]
    try:
        folds, each = ([1, *map(int, lines[0][1])])[-2:]
    except (IndexError, ValueError):
        raise LafsError(f"{path}, line 1: expected the number of folds and of pairs per fold.") from None
    rows = [_pairs_txt_row(path, number, fields) for number, fields in lines[1:]]
    if folds < 1 or each < 1 or len(rows) != folds * 2 * each:
        raise LafsError(
            f"{path}: line 1 announces {folds} folds of {each} same and {each} different pairs "
            f"({folds * 2 * each} lines), {len(rows)} pairs follow."
        )
    table = pd.DataFrame(rows, columns=["name_a", "number_a", "name_b", "number_b", "is_same"])
    return table.assign(fold=np.arange(len(rows)) // (2 * each))


def _pairs_txt_row(path: Path | str, line: int, fields: list[str]) -> tuple[str, int, str, int, bool]:
    try:
        if len(fields) == 3:
            return fields[0], int(fields[1]), fields[0], int(fields[2]), True
        name_a, number_a, name_b, number_b = fields
        return name_a, int(number_a), name_b, int(number_b), False
    except ValueError:
        raise LafsError(
            f"{path}, line {line}: expected 'name number number' or 'name number name number', not {fields}."
        ) from None


def read_pairs_csv(path: Path | str, folds: int) -> pd.DataFrame:
    """Read a CSV with the columns a, b, is_same and perhaps fold.

    Args:
        path: `is_same` is 1 or 0, true or false.
        folds: how many there are where the list names none: pairs of either kind are split evenly, in
            file order.

    Raises:
        LafsError: the file is missing or a line has another form; names the line.
    """
    rows = csv.DictReader(_lines(path))
    missing = [name for name in ("a", "b", "is_same") if name not in (rows.fieldnames or [])]
    if missing:
        raise LafsError(
            f"Pair list {path} has no column {', '.join(missing)}; expected a,b,is_same and perhaps fold."
        )
    pairs, given = [], []
    for row in rows:
        truth = _TRUTHS.get((row["is_same"] or "").strip().lower())
        if not row["a"] or not row["b"] or truth is None:
            raise LafsError(
                f"{path}, line {rows.line_num}: expected two images and 1 or 0 for is_same, "
                f"not {list(row.values())}."
            )
        pairs.append((row["a"].strip(), row["b"].strip(), truth))
        given.append(row.get("fold"))
    return _table(path, pairs, _given_folds(path, given) if "fold" in rows.fieldnames else None, folds)


def read_cross_lfw_pairs(path: Path | str, folds: int) -> pd.DataFrame:
    """Read `pairs_CALFW.txt` or `pairs_CPLFW.txt`: two lines a pair, each an image and the pair's label.

    A label of 0 is for different people; others are for the same person. CALFW's go from 1 to 10, which are
    taken as folds. Pairs of different people, whose folds neither list tells, are split evenly in file order.

    Raises:
        LafsError: the file is missing or a line has another form; names the line.
    """
    lines = [line.split() for line in _lines(path) if line.strip()]
    for number, fields in enumerate(lines, 1):
        if len(fields) != 2 or not fields[1].isdigit() or fields[1] != lines[(number - 1) // 2 * 2][-1]:
            raise LafsError(
                f"{path}, line {number}: expected an image and the label of its pair, the same on both "
                f"lines of a pair, not {fields}."
            )
    if len(lines) % 2:
        raise LafsError(f"{path} has {len(lines)} lines; expected two a pair. Is the copy whole?")
    pairs = [
        (first[0], second[0], first[1] != "0") for first, second in zip(lines[::2], lines[1::2], strict=True)
    ]
    labels = np.array([int(fields[1]) for fields in lines[::2]])
    table = _table(path, pairs, None, folds)
    if labels.max(initial=0) > 1:
        table.loc[table["is_same"], "fold"] = labels[labels > 0] - 1
    return table


def read_cfp_pairs(path: Path | str, protocol: Literal["FF", "FP"]) -> pd.DataFrame:
    """Read CFP's `Protocol` folder: `Pair_list_F.txt`, `Pair_list_P.txt` and `Split/<protocol>/01..10`.

    The lists number images from 1 and place them at `../Data/Images/<person>/<frontal|profile>/<image>`; a
    split's `same.txt` and `diff.txt` have lines `i,j`, j a frontal image in FF and one in profile in FP.

    Returns:
        Names are `<person>/<frontal|profile>/<image>`.

    Raises:
        LafsError: a file is missing or a line has another form; names the line.
    """
    folder = Path(path)
    frontal = _numbered_images(folder / "Pair_list_F.txt")
    other = frontal if protocol == "FF" else _numbered_images(folder / "Pair_list_P.txt")
    splits = sorted(place for place in (folder / "Split" / protocol).glob("*") if place.is_dir())
    if not splits:
        raise LafsError(f"{folder / 'Split' / protocol} holds no splits; expected 01 to 10.")
    pairs, folds = [], []
    for fold, split in enumerate(splits):
        for name, is_same in (("same.txt", True), ("diff.txt", False)):
            for number, line in enumerate(_lines(split / name), 1):
                try:
                    first, second = map(int, line.split(","))
                    pairs.append((frontal[first], other[second], is_same))
                except (ValueError, KeyError):
                    raise LafsError(
                        f"{split / name}, line {number}: expected the numbers of two listed images, 'i,j', "
                        f"not {line!r}."
                    ) from None
                folds.append(fold)
    return _table(folder, pairs, np.array(folds), len(splits))


def _numbered_images(path: Path) -> dict[int, str]:
    images = {}
    for line_number, line in enumerate(_lines(path), 1):
        number, _, name = line.strip().partition(" ")
        parts = name.strip().replace("\\", "/").split("/")
        if not number.isdigit() or len(parts) < 3:
            raise LafsError(
                f"{path}, line {line_number}: expected a number and the path of an image, not {line!r}."
            )
        images[int(number)] = "/".join(parts[-3:])
    return images


def _lines(path: Path | str) -> list[str]:
    path = Path(path)
    try:
        return unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig")).splitlines()
    except FileNotFoundError:
        raise LafsError(f"Pair list {path} does not exist.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise LafsError(f"Pair list {path} is not a UTF-8 text file: {error}.") from error


def _given_folds(path: Path | str, given: list[str | None]) -> np.ndarray:
    try:
        _, folds = np.unique([int(fold) for fold in given], return_inverse=True)
    except (ValueError, TypeError):
        raise LafsError(
            f"Pair list {path}: every fold must be a whole number, or leave the column out."
        ) from None
    return folds


def _table(
    path: Path | str, pairs: list[tuple[str, str, bool]], given: np.ndarray | None, folds: int
) -> pd.DataFrame:
    if not pairs:
        raise LafsError(f"Pair list {path} names no pairs.")
    table = pd.DataFrame(pairs, columns=PAIR_COLUMNS[:3])
    if given is not None:
        return table.assign(fold=given)
    kinds = table.groupby("is_same")["is_same"]
    return table.assign(fold=kinds.cumcount() * folds // kinds.transform("size"))
