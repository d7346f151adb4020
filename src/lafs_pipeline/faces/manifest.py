"""The manifest: one row an image, from which training, subsets and evaluation find their bytes.

| column | holds |
| --- | --- |
| key | unique name, `<source>/<name>` |
| identity | `<source>/<person>`, missing for unlabelled images |
| source | source or benchmark the image came with |
| split | `train`, or the benchmark the image belongs to |
| store, record | RecordIO file and int64 key in it |
| channel_order | what the stored bytes decode to: `rgb` or `bgr` |
| x1, y1 .. x5, y5 | five points in the stored 112 x 112 image, float32, missing when not known |
| score | detector score, float32, missing when not known |
"""

from typing import Any

import numpy as np
import pandas as pd

from lafs_pipeline.faces.sources import POINT_COLUMNS
from lafs_pipeline.runtime.errors import LafsError

TRAIN = "train"
MANIFEST_TYPES = (
    dict.fromkeys(["key", "identity", "source", "split", "store"], "string")
    | {"record": "int64", "channel_order": "string"}
    | dict.fromkeys([*POINT_COLUMNS, "score"], "float32")
)
REJECTED_TYPES = dict.fromkeys(["source", "key", "reason"], "string")
PAIR_TYPES = {
    "benchmark": "string",
    "pair": "int64",
    "key_a": "string",
    "key_b": "string",
    "is_same": "bool",
    "fold": "Int64",
}
_CHUNK = 1 << 16


class TableBuilder:
    """Collects rows into a typed table; held rows are packed now and then, so that millions fit."""

    def __init__(self, types: dict[str, str]) -> None:
        self._types = types
        self._rows: list[tuple] = []
        self._chunks: list[pd.DataFrame] = []

    def __len__(self) -> int:
        return len(self._rows) + sum(map(len, self._chunks))

    def append(self, *row: Any) -> None:
        """Add a row, its values in the order of the columns."""
        self._rows.append(row)
        if len(self._rows) >= _CHUNK:
            self._pack()

    def table(self) -> pd.DataFrame:
        """All rows so far."""
        self._pack()
        return pd.concat(self._chunks, ignore_index=True)

    def _pack(self) -> None:
        if self._rows or not self._chunks:
            columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._types)
            named = zip(self._types.items(), columns, strict=True)
            self._chunks.append(pd.DataFrame({name: pd.array(v, dtype=kind) for (name, kind), v in named}))
            self._rows = []


def check_manifest(manifest: pd.DataFrame, origin: str = "manifest") -> pd.DataFrame:
    """Return `manifest` where it has the columns of this module, no missing record and no key twice.

    Raises:
        LafsError: Names `origin` and what is wrong.
    """
    missing = [column for column in MANIFEST_TYPES if column not in manifest]
    if missing:
        raise LafsError(
            f"{origin} lacks the columns {', '.join(missing)}; write it anew by the cataloging pipeline."
        )
    if not len(manifest):
        raise LafsError(f"{origin} has no rows.")
    for column in ("key", "split", "store", "record"):
        if manifest[column].isna().any():
            raise LafsError(f"{origin}: {manifest[column].isna().sum()} rows have no {column}.")
    repeated = manifest["key"][manifest["key"].duplicated()]
    if len(repeated):
        raise LafsError(
            f"{origin}: {len(repeated)} keys are there more than once, first {repeated.iloc[0]!r}."
        )
    wrong = set(manifest["channel_order"].unique()) - {"rgb", "bgr"}
    if wrong:
        raise LafsError(f"{origin}: channel_order must be rgb or bgr, found {sorted(map(str, wrong))}.")
    return manifest


def manifest_points(manifest: pd.DataFrame) -> np.ndarray:
    """The five points of every row, (n, 5, 2) float32, NaN where they are not known."""
    return manifest[POINT_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
