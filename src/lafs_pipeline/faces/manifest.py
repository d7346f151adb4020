"""The manifest: one row per image, from which training, subsets and evaluation find their bytes.

| column | holds |
| --- | --- |
| key | unique name, `<source>/<name>` |
| identity | `<source>/<person>`, `<person>` where sources are merged, missing for unlabeled images |
| source | source or benchmark the image came with |
| split | `train`, or the benchmark the image belongs to |
| store, record, offset | RecordIO file, int64 key in it, int64 byte where the record starts |
| channel_order | what the stored bytes decode to: `rgb` or `bgr` |
| width, height | int32 pixels of the image in the source, before alignment |
| exact_hash | int64, of the stored bytes (:func:`lafs_pipeline.cataloging.hashes.exact_hash`) |
| perceptual_hash | int64 (:func:`lafs_pipeline.cataloging.hashes.perceptual_hash`), missing where not known |
| x1, y1 .. x5, y5 | five points in the stored 112 x 112 image, float32, missing when not known |
| score | detector score, float32, missing when not known |

`source`, `split`, `store` and `channel_order` are categories: a row of theirs takes a byte each.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

TRAIN = "train"
POINT_COLUMNS = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
MANIFEST_TYPES = (
    {"key": "string", "identity": "string"}
    | dict.fromkeys(["source", "split", "store"], "category")
    | {"record": "int64", "offset": "int64", "channel_order": "category", "width": "int32", "height": "int32"}
    | {"exact_hash": "int64", "perceptual_hash": "Int64"}
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
_DECIDING = ["key", "exact_hash", "identity", "split", "channel_order"]
LOADED_COLUMNS = [*_DECIDING, "store", "record", "offset"]
"""What trainings and embeddings need of a manifest."""


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
        return join_tables(self._chunks)

    def _pack(self) -> None:
        if self._rows or not self._chunks:
            columns = list(zip(*self._rows, strict=True)) or [()] * len(self._types)
            self._chunks.append(typed_table(self._types, columns))
            self._rows = []


def typed_table(types: dict[str, str], columns: Sequence[Any]) -> pd.DataFrame:
    """A table of columns with these names and types, in their order."""
    named = zip(types.items(), columns, strict=True)
    return pd.DataFrame({name: _typed(values, kind) for (name, kind), values in named})


def join_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of the same columns one after the other, with the categories of all."""
    first = tables[0]
    names = [name for name in first if isinstance(first[name].dtype, pd.CategoricalDtype)]
    unions = {
        name: list(dict.fromkeys(value for table in tables for value in table[name].cat.categories))
        for name in names
    }
    alike = [
        table.assign(**{name: table[name].cat.set_categories(unions[name]) for name in names})
        for table in tables
    ]
    return pd.concat(alike, ignore_index=True)


def _typed(values: Any, kind: str) -> Any:
    return pd.Categorical(values) if kind == "category" else pd.array(values, dtype=kind)


def fingerprint(manifest: pd.DataFrame) -> str:
    """32 hexadecimal digits that change with any image, key, identity, split or channel order.

    They depend neither on the order of the rows nor on where the images are stored. (BLAKE2b over the rows
    sorted by key.)
    """
    digest = hashlib.blake2b(digest_size=16)
    order = manifest["key"].astype("string").argsort().to_numpy()
    for start in range(0, len(order), _CHUNK):
        rows = manifest[_DECIDING].iloc[order[start : start + _CHUNK]].astype("string").fillna("")
        lines = rows["key"].str.cat([rows[name] for name in _DECIDING[1:]], sep="\t")
        digest.update("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def manifest_points(manifest: pd.DataFrame) -> np.ndarray:
    """The five points of every row, (n, 5, 2) float32, NaN where they are not known."""
    return manifest[POINT_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
