"""RecordIO, the packed image format of InsightFace's data sets (`train.rec` beside `train.idx`).

A record is a magic word, a word with a continuation flag (top 3 bits) and a length (low 29 bits), the
payload, and padding to 4 bytes. A payload that holds the magic word at an offset divisible by 4 is split
there: the word is left out by the writer and put back by the reader. The `.idx` has one line a record:
key, tab, byte offset. An image payload starts with a header `uint32 flag, float32 label, uint64 id,
uint64 id2`; `flag` > 0 announces that many float32 labels after it.

Source: dmlc-core `recordio.h` and mxnet `recordio.py` (Apache-2.0 projects, reimplemented from the format).
"""

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
WHOLE, FIRST, MIDDLE, LAST = range(4)
MAX_PART = (1 << 29) - 1
_PART_HEADER = struct.Struct("<II")
_IMAGE_HEADER = struct.Struct("<IfQQ")


class ImageRecord(NamedTuple):
    """One image of a RecordIO file.

    Attributes:
        labels: float32 labels of the header; the first is the identity number.
        encoded: The image as it was encoded (JPEG, PNG, ...).
    """

    labels: np.ndarray
    encoded: bytes


class RecordIOWriter:
    """Write `path` and its `.idx`; both appear when the block ends well, neither when it raises.

    Example:
        >>> with RecordIOWriter("faces.rec") as writer:
        ...     writer.write_image(1, jpeg_bytes, label=0)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._files = ExitStack()
        self._keys: set[int] = set()

    def __enter__(self) -> "RecordIOWriter":
        record_path = self._files.enter_context(whole_file(self.path))
        index_path = self._files.enter_context(whole_file(self.path.with_suffix(".idx")))
        self._records = self._files.enter_context(record_path.open("wb"))
        self._index = self._files.enter_context(index_path.open("w"))
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._files.__exit__(*error)

    @property
    def count(self) -> int:
        """Number of records written."""
        return len(self._keys)

    def write(self, key: int, payload: bytes) -> None:
        """Append one record.

        Raises:
            LafsError: The key was used before, or the payload is 512 MiB or larger.
        """
        if key in self._keys:
            raise LafsError(f"{self.path}: record key {key} is written twice; keys must be unique.")
        if len(payload) > MAX_PART:
            raise LafsError(
                f"{self.path}, record {key}: {len(payload)} bytes, the format holds at most {MAX_PART}."
            )
        self._keys.add(key)
        self._index.write(f"{key}\t{self._records.tell()}\n")
        parts = list(_split_at_magic(payload))
        for number, part in enumerate(parts):
            if len(parts) == 1:
                flag = WHOLE
            else:
                flag = FIRST if number == 0 else LAST if number == len(parts) - 1 else MIDDLE
            self._records.write(_PART_HEADER.pack(MAGIC, flag << 29 | len(part)))
            self._records.write(part)
        self._records.write(bytes(-len(parts[-1]) % 4))

    def write_image(
        self, key: int, encoded: bytes, label: float | Sequence[float], image_id: int = 0
    ) -> None:
        """Append an encoded image with one label, or with several (as InsightFace's own records have).

        Raises:
            LafsError: As :meth:`write`.
        """
        if isinstance(label, Sequence):
            header = _IMAGE_HEADER.pack(len(label), 0.0, image_id, 0) + struct.pack(f"<{len(label)}f", *label)
        else:
            header = _IMAGE_HEADER.pack(0, label, image_id, 0)
        self.write(key, header + encoded)


class RecordIOReader:
    """Random access to the records of a RecordIO file, memory-mapped; opens again after pickling.

    Raises:
        LafsError: A file is missing, or the index is not one.
    """

    def __init__(self, path: Path | str, index: Path | str | None = None) -> None:
        self.path = Path(path)
        self.index = Path(index) if index else self.path.with_suffix(".idx")
        self.keys, self._offsets = _read_index(self.index)
        if not self.path.is_file():
            raise LafsError(f"RecordIO file {self.path} does not exist; its index {self.index} does.")
        if not self.path.stat().st_size:
            raise LafsError(f"RecordIO file {self.path} is empty.")
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        self._order = None if np.all(np.diff(self.keys) > 0) else np.argsort(self.keys, kind="stable")

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.index)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> bytes:
        """The payload of one record.

        Raises:
            LafsError: There is no such key, or the record is damaged; names file and record.
        """
        position = self._offset(key)
        start, length = self._part(key, position, (WHOLE, FIRST))
        payload = self._map[start : start + length]
        if self._flag(position) == WHOLE:
            return payload
        parts = [payload]
        while self._flag(position) != LAST:
            position = start + length + (-length % 4)
            start, length = self._part(key, position, (MIDDLE, LAST))
            parts.append(self._map[start : start + length])
        return MAGIC_BYTES.join(parts)

    def read_image(self, key: int) -> ImageRecord:
        """The labels and the encoded image of one record.

        Raises:
            LafsError: As :meth:`read`, or the record holds no image header.
        """
        payload = self.read(key)
        if len(payload) < _IMAGE_HEADER.size:
            raise self._damaged(
                key, f"{len(payload)} bytes are too few for an image header of {_IMAGE_HEADER.size}"
            )
        flag, label, _, _ = _IMAGE_HEADER.unpack_from(payload)
        if not flag:
            return ImageRecord(np.array([label], np.float32), payload[_IMAGE_HEADER.size :])
        start = _IMAGE_HEADER.size + 4 * flag
        if len(payload) < start:
            raise self._damaged(
                key, f"its header announces {flag} labels, its {len(payload)} bytes hold fewer"
            )
        return ImageRecord(np.frombuffer(payload, "<f4", flag, _IMAGE_HEADER.size), payload[start:])

    def read_labels(self, key: int) -> np.ndarray:
        """The float32 labels of one image record, without its image.

        Raises:
            LafsError: As :meth:`read_image`.
        """
        start, length = self._part(key, self._offset(key), (WHOLE, FIRST))
        if length >= _IMAGE_HEADER.size:
            flag, label, _, _ = _IMAGE_HEADER.unpack_from(self._map, start)
            if not flag:
                return np.array([label], np.float32)
        return self.read_image(key).labels

    def image_keys(self) -> np.ndarray:
        """Keys of the records that hold images, (n,) int64.

        In InsightFace's layout record 0 names the identity records: image keys run from 1 to before the
        first of those. Without it every key is an image.

        Raises:
            LafsError: Record 0 is damaged or names a range that the index does not hold.
        """
        if not np.any(self.keys == 0):
            return self.keys
        labels, encoded = self.read_image(0)
        if encoded or len(labels) < 2:
            return self.keys
        first_identity = int(labels[0])
        images = self.keys[(self.keys > 0) & (self.keys < first_identity)]
        if not len(images):
            raise self._damaged(
                0, f"it says that images come before record {first_identity}, but there are none"
            )
        return images

    def _offset(self, key: int) -> int:
        position = np.searchsorted(self.keys, key, sorter=self._order)
        if self._order is not None and position < len(self):
            position = self._order[position]
        if position >= len(self) or self.keys[position] != key:
            raise LafsError(f"{self.path}: there is no record {key} in {self.index} ({len(self)} records).")
        return int(self._offsets[position])

    def _flag(self, position: int) -> int:
        return _PART_HEADER.unpack_from(self._map, position)[1] >> 29

    def _part(self, key: int, position: int, flags: tuple[int, ...]) -> tuple[int, int]:
        start = position + _PART_HEADER.size
        if not 0 <= position <= len(self._map) - _PART_HEADER.size:
            raise self._damaged(key, f"it should start at byte {position}, the file has {len(self._map)}")
        magic, word = _PART_HEADER.unpack_from(self._map, position)
        flag, length = word >> 29, word & MAX_PART
        if magic != MAGIC or flag not in flags:
            raise self._damaged(key, f"no record starts at byte {position}")
        if start + length > len(self._map):
            raise self._damaged(key, f"it should end at byte {start + length}, the file has {len(self._map)}")
        return start, length

    def _damaged(self, key: int, reason: str) -> LafsError:
        return LafsError(
            f"{self.path}, record {key} is damaged: {reason}. Check the file and its index {self.index}."
        )


def _split_at_magic(payload: bytes) -> Iterator[bytes]:
    start = 0
    found = payload.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            yield payload[start:found]
            start = found + 4
            found = payload.find(MAGIC_BYTES, start)
        else:
            found = payload.find(MAGIC_BYTES, found + 1)
    yield payload[start:]


def _read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise LafsError(f"RecordIO index {path} does not exist; it should lie beside its .rec file.")
    try:
        table = pd.read_csv(
            path, sep="\t", header=None, names=["key", "offset"], dtype=np.int64, index_col=False
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise LafsError(f"{path} is not a RecordIO index (lines 'key TAB byte offset'): {error}") from error
    if not table.key.is_unique:
        raise LafsError(f"{path}: key {table.key[table.key.duplicated()].iloc[0]} is there more than once.")
    return table.key.to_numpy(), table.offset.to_numpy()
