"""The text files of IJB-B and IJB-C, line by line: whole, or as far as they are sound."""

import csv
import logging
import warnings
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lafs_pipeline.faces.manifest import POINT_COLUMNS
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

OnMissing = Literal["error", "exclude"]
_MEDIA = {"name": str, "template": np.int32, "media": np.int32}
_PAIRS = {"template_a": np.int32, "template_b": np.int32, "label": np.int8}
_POINTS = {"name": str} | dict.fromkeys([*POINT_COLUMNS, "score"], np.float32)


class MetaFiles:
    """Reads the meta files of one tree and counts the damaged lines that it leaves out.

    Attributes:
        damaged_lines: so far.

    Args:
        on_missing: `error` refuses damaged lines, `exclude` leaves them out.
    """

    def __init__(self, on_missing: OnMissing) -> None:
        self.on_missing = on_missing
        self.damaged_lines = 0

    def media(self, path: Path) -> pd.DataFrame:
        """Lines `image template media`: name, template, media."""
        return self._table(path, _MEDIA)

    def points(self, path: Path) -> pd.DataFrame:
        """Lines `image x1 y1 .. x5 y5 score`: name, x1 .. y5, score."""
        return self._table(path, _POINTS).drop_duplicates("name")

    def pairs(self, path: Path) -> pd.DataFrame:
        """Lines `template template label`: template_a, template_b, label (1 for one person, 0 for two)."""
        pairs = self._table(path, _PAIRS)
        wrong = ~pairs["label"].isin([0, 1]).to_numpy()
        if wrong.any():
            row = pairs[wrong].iloc[0].tolist()
            self._refuse(path, int(wrong.sum()), f"a label that is neither 0 nor 1, first {row}")
        return pairs[~wrong] if wrong.any() else pairs

    def subjects(self, path: Path) -> pd.DataFrame:
        """Template and subject of a gallery or probe CSV, its first two columns, each template once."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                rows = [row[:2] for row in csv.reader(stream) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LafsError(f"{path} cannot be read: {error}.") from error
        if rows and not rows[0][0].isdigit():
            rows = rows[1:]
        good = [row for row in rows if len(row) == 2 and row[0].isdigit() and row[1].isdigit()]
        if len(good) < len(rows):
            bad = next(row for row in rows if row not in good)
            self._refuse(path, len(rows) - len(good), f"no template and subject, first {bad}")
        if not good:
            raise LafsError(f"{path} names no templates.")
        table = pd.DataFrame(np.array(good, np.int64).astype(np.int32), columns=["template", "subject"])
        table = table.drop_duplicates(ignore_index=True)
        several = table.loc[table["template"].duplicated(), "template"]
        if len(several):
            raise LafsError(f"{path} gives template {several.iloc[0]} more than one subject.")
        return table

    def _table(self, path: Path, types: dict[str, Any]) -> pd.DataFrame:
        """Fields apart by blanks, without a heading."""
        if not path.is_file():
            raise LafsError(f"{path} does not exist; it is part of the tree.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                table = pd.read_csv(
                    path,
                    sep=r"\s+",
                    header=None,
                    names=list(types),
                    dtype=types,
                    index_col=False,
                    na_filter=False,
                )
        except (ValueError, OSError, pd.errors.ParserWarning) as error:
            if isinstance(error, OSError):
                raise LafsError(f"{path} cannot be read: {error}.") from error
            return self._sound_lines(path, types)
        if not np.isfinite(table.select_dtypes("float32").to_numpy()).all():
            return self._sound_lines(path, types)
        return self._filled(path, table)

    @staticmethod
    def _filled(path: Path, table: pd.DataFrame) -> pd.DataFrame:
        if not len(table):
            raise LafsError(f"{path} has no line with the {table.shape[1]} fields {' '.join(table)}.")
        return table

    def _sound_lines(self, path: Path, types: dict[str, Any]) -> pd.DataFrame:
        convert = [_CONVERTERS[kind] for kind in types.values()]
        columns: list[Any] = [[] if kind is str else array(np.dtype(kind).char) for kind in types.values()]
        damaged, first = 0, ""
        with path.open(encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                fields = line.split()
                try:
                    values = [function(field) for function, field in zip(convert, fields, strict=True)]
                except ValueError:
                    if fields:
                        damaged += 1
                        first = first or f"line {number}: {line.strip()[:60]!r}"
                    continue
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        if damaged:
            self._refuse(
                path, damaged, f"other than the {len(types)} fields {' '.join(types)}, first {first}"
            )
        table = pd.DataFrame(dict(zip(types, map(_as_column, columns), strict=True)))
        return self._filled(path, table)

    def _refuse(self, path: Path, lines: int, what: str) -> None:
        message = f"{path}: {lines} line(s) with {what}. Is the copy whole?"
        if self.on_missing == "error":
            raise LafsError(f"{message} Copy it again, or set `on_missing: exclude` to leave them out.")
        logger.warning("%s They are left out.", message)
        self.damaged_lines += lines


def _as_column(values: list | array) -> Any:
    return (
        pd.Series(values, dtype="str") if isinstance(values, list) else np.frombuffer(values, values.typecode)
    )


def _finite(field: str) -> float:
    value = float(field)
    if not np.isfinite(value):
        raise ValueError
    return value


def _bounded(kind: type[np.integer]) -> Callable[[str], int]:
    limits = np.iinfo(kind)

    def convert(field: str) -> int:
        value = int(field)
        if not limits.min <= value <= limits.max:
            raise ValueError
        return value

    return convert


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    np.float32: _finite,
    np.int32: _bounded(np.int32),
    np.int8: _bounded(np.int8),
}
