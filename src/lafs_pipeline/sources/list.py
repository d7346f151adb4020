"""Loose image files that a list names, with their people."""

import csv
import os
import re
import unicodedata
from pathlib import Path

import numpy as np

from lafs_pipeline.faces.manifest import POINT_COLUMNS
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.points import read_points
from lafs_pipeline.sources.source import (
    EncodedFace,
    checked_identity,
    is_image_name,
    printable,
    read_image_file,
    unique_keys,
)

_FILE_COLUMNS = ("file", "path")


class ListSource:
    """Images that a text file lists, one line per image: path, identity and, where known, five points.

    Either a CSV with a heading (`file` or `path`, then any of `identity`, x1, y1..x5, y5), or lines without
    one: path, then identity, apart by a tab, a comma or blanks. Kept in the list's order.

    Raises:
        LafsError: The list is missing, empty, or not text of that form; names the line.
    """

    def __init__(
        self,
        path: Path | str,
        root: Path | str | None = None,
        labeled: bool = True,
        points: Path | str | None = None,
        identity_column: str = "identity",
    ) -> None:
        self.path = Path(path)
        self.root = Path(root) if root else self.path.parent
        self.labeled = labeled
        if not self.path.is_file():
            raise LafsError(f"Image list {self.path} does not exist.")
        try:
            text = self.path.read_text(encoding="utf-8-sig", errors="surrogateescape")
            rows = _list_rows(text, identity_column)
        except (LafsError, OSError, csv.Error) as error:
            raise LafsError(f"Image list {self.path}: {error}") from error
        if not rows:
            raise LafsError(f"Image list {self.path} names no images.")
        self._files, self._labels, own_points = (list(column) for column in zip(*rows, strict=True))
        self._keys = unique_keys(self._files)
        self._own_points = {index: p for index, p in enumerate(own_points) if p is not None}
        self._points = read_points(points, self.root) if points else {}
        self.names_are_people = not all(label is None or label.isdigit() for label in self._labels)

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """The path as listed; a path that is listed again has a number after it."""
        return self._keys[index]

    def identity(self, index: int) -> str | None:
        """The identity as listed."""
        return checked_identity(self._labels[index]) if self.labeled else None

    def read(self, index: int) -> EncodedFace:
        """The file's bytes, and its points where they are known."""
        encoded = read_image_file(_in_either_form(self.root / self._files[index]))
        if index in self._own_points:
            return EncodedFace(encoded, _as_points(self._own_points[index]))
        return EncodedFace(encoded, self._points.get(printable(self._files[index])))


_Row = tuple[str, str | None, list[str] | None]


def _list_rows(text: str, identity_column: str) -> list[_Row]:
    lines = enumerate(text.split("\n"), 1)
    numbered = [(number, line.rstrip("\r")) for number, line in lines if line.strip()]
    if not numbered:
        return []
    heading = next(csv.reader([numbered[0][1]]))
    if any(column in heading for column in _FILE_COLUMNS):
        return _rows_by_name(numbered, heading, identity_column)
    return [_row(number, line) for number, line in numbered]


def _rows_by_name(numbered: list[tuple[int, str]], heading: list[str], identity_column: str) -> list[_Row]:
    places = {name: place for place, name in enumerate(heading)}
    file = next(places[name] for name in _FILE_COLUMNS if name in places)
    label = places.get(identity_column)
    points = [places[name] for name in POINT_COLUMNS if name in places]
    rows = []
    for number, line in numbered[1:]:
        fields = next(csv.reader([line]))
        if len(fields) != len(heading):
            raise LafsError(f"line {number} has {len(fields)} fields, its heading {len(heading)}.")
        given = [fields[place] for place in points] if len(points) == len(POINT_COLUMNS) else None
        rows.append(
            (fields[file], None if label is None else fields[label], given if given and any(given) else None)
        )
    return rows


def _row(number: int, line: str) -> _Row:
    if "\t" in line:
        fields = line.split("\t")
    elif "," in line:
        fields = next(csv.reader([line]))
    else:
        fields = re.split(r"\s+(?=\S+$)", line.strip()) if not is_image_name(line) else [line]
    fields = [field.strip() for field in fields]
    if len(fields) > 2 or not fields[0]:
        raise LafsError(f"line {number} has {len(fields)} fields, expected path and identity: {line[:80]!r}.")
    return fields[0], fields[1] if len(fields) == 2 else None, None


def _in_either_form(path: Path) -> Path:
    """The path as written, or with its letters composed or taken apart (NFC, NFD) where that file exists."""
    if os.path.lexists(path):
        return path
    forms = [Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")]
    return next((form for form in forms if os.path.lexists(form)), path)


def _as_points(fields: list[str]) -> np.ndarray:
    try:
        return np.array(fields, np.float32).reshape(5, 2)
    except ValueError:
        raise LafsError(f"its five points are not numbers: {','.join(fields)[:80]}") from None
