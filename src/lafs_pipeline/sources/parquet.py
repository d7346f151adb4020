"""Images stored as bytes in Parquet files."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.points import read_points
from lafs_pipeline.sources.source import (
    MAX_FILE_BYTES,
    EncodedFace,
    checked_identity,
    printable,
    shard_names,
    shard_paths,
    unique_keys,
)

_BLOCK_ROWS = 64
_KEPT_BLOCKS = 8


class ParquetSource:
    """The rows of Parquet files: one column holds the bytes of an image file, others its identity and key.

    The image column is binary, or a struct with a binary field `bytes` (as Hugging Face's data sets have it).
    Identities and keys are read when the source is opened, images in blocks of 64 rows of which a few are
    kept: reading in order is quick, jumping about reads a row group up to the row.

    Raises:
        LafsError: A file is missing, damaged or has no rows, or a column is missing or of another type.
    """

    def __init__(
        self,
        path: Path | str | list[str],
        labeled: bool = True,
        points: Path | str | None = None,
        image_column: str = "image",
        identity_column: str = "identity",
        key_column: str | None = None,
    ) -> None:
        self.labeled = labeled
        self._paths = shard_paths(path, ".parquet")
        self._image_column = image_column
        keys: list[str] = []
        counts: list[list[int]] = []
        self._labels: list[Any] = []
        wanted = {"identity": identity_column if labeled else None, "key": key_column}
        for shard, prefix in zip(self._paths, shard_names(self._paths), strict=True):
            file = _open(shard)
            _check_image_column(shard, file.schema_arrow, image_column)
            columns = {
                what: _column(shard, file, name) if name else [None] * file.metadata.num_rows
                for what, name in wanted.items()
            }
            self._labels += columns["identity"]
            names = enumerate(columns["key"])
            keys += [
                f"{prefix}{row:08d}" if name is None else f"{prefix}{_text(name)}" for row, name in names
            ]
            counts.append([file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)])
        if not keys:
            raise LafsError(f"{path}: the Parquet files have no rows.")
        self._keys = unique_keys(keys)
        self._groups = [(shard, group) for shard, of in enumerate(counts) for group in range(len(of))]
        self._ends = np.cumsum([count for of in counts for count in of])
        self._points = read_points(points) if points else {}
        self.names_are_people = any(isinstance(label, str) and not label.isdigit() for label in self._labels)
        self.__setstate__({})

    def __getstate__(self) -> dict:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_lock", "_blocks", "_ahead")
        }

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._ahead: tuple[int, int, Iterator[pa.Array]] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """The key column's value, or the row's number; before it the shard's name where there are several."""
        return self._keys[index]

    def identity(self, index: int) -> str | None:
        """The identity column's value."""
        return checked_identity(self._labels[index])

    def read(self, index: int) -> EncodedFace:
        """The row's image, and its points where a file gives them."""
        group = int(np.searchsorted(self._ends, index, side="right"))
        row = index - (int(self._ends[group - 1]) if group else 0)
        with self._lock:
            encoded = self._block(group, row // _BLOCK_ROWS)[row % _BLOCK_ROWS].as_py()
        if encoded is None:
            raise LafsError("it is empty (a missing value)")
        return EncodedFace(encoded, self._points.get(self._keys[index]))

    def _block(self, group: int, block: int) -> pa.Array:
        if (group, block) in self._blocks:
            self._blocks.move_to_end((group, block))
            return self._blocks[group, block]
        shard, of_shard = self._groups[group]
        try:
            if self._ahead is None or self._ahead[0] != group or self._ahead[1] > block:
                self._ahead = group, 0, self._image_blocks(shard, of_shard)
            _, place, blocks = self._ahead
            for number in range(place, block + 1):
                self._blocks[group, number] = next(blocks)
                self._ahead = group, number + 1, blocks
                if len(self._blocks) > _KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
        except (pa.ArrowException, OSError, StopIteration) as error:
            self._ahead = None
            raise LafsError(
                f"{self._paths[shard]}, row group {of_shard} is damaged ({_first_line(error)})"
            ) from error
        return self._blocks[group, block]

    def _image_blocks(self, shard: int, group: int) -> Iterator[pa.Array]:
        file = _open(self._paths[shard])
        # Batches of the reader may be shorter than asked for.
        pending: list[pa.Array] = []
        for batch in file.iter_batches(_BLOCK_ROWS, row_groups=[group], columns=[self._image_column]):
            column = batch.column(0)
            if pa.types.is_struct(column.type):
                column = column.field("bytes")
            pending.append(column)
            joined = pa.concat_arrays(pending)
            while len(joined) >= _BLOCK_ROWS:
                yield joined[:_BLOCK_ROWS]
                joined = joined[_BLOCK_ROWS:]
            pending = [joined]
        if pending and len(pending[0]):
            yield pending[0]


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            path,
            buffer_size=1 << 20,
            pre_buffer=False,
            page_checksum_verification=True,
            thrift_string_size_limit=MAX_FILE_BYTES,
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LafsError(f"{path} is not a Parquet file or is damaged ({_first_line(error)}).") from error


def _check_image_column(path: Path, schema: pa.Schema, name: str) -> None:
    if name not in schema.names:
        raise LafsError(
            f"{path} has no column '{name}' for images; its columns are {', '.join(schema.names)}."
        )
    kind = schema.field(name).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise LafsError(f"{path}: column '{name}' is of type {kind}, expected the bytes of image files.")


def _column(path: Path, file: pq.ParquetFile, name: str) -> list:
    """Values of a column of names or numbers; text stays bytes where it is not UTF-8."""
    if name not in file.schema_arrow.names:
        raise LafsError(
            f"{path} has no column '{name}'; its columns are {', '.join(file.schema_arrow.names)}. Set "
            "`identity_column` or `key_column`, or `labeled: false`."
        )
    kind = file.schema_arrow.field(name).type
    try:
        values = file.read(columns=[name], use_threads=False).column(0)
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return [None if v is None else printable(v) for v in values.cast(pa.large_binary()).to_pylist()]
        return values.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LafsError(f"{path}: column '{name}' is damaged ({_first_line(error)}).") from error


def _text(name: object) -> str:
    return printable(name if isinstance(name, (str, bytes)) else str(name))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
