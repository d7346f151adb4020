"""The bytes of RecordIO, the packed image format of InsightFace's data sets.

A record is a magic word, a word with a continuation flag (top 3 bits) and a length (low 29 bits), the
payload, and zeros up to a multiple of 4 bytes. A payload that holds the magic word at an offset divisible by
4 is split there: the word is left out by the writer and put back by the reader. An image payload starts with
a header `uint32 flag, float32 label, uint64 id, uint64 id2`; `flag` > 0 announces that many float32 labels
after it. There are no checksums: changes inside a payload cannot be noticed here, all others are.

Source: dmlc-core `recordio.h` and mxnet `recordio.py` (Apache-2.0 projects, reimplemented from the format).
"""

import mmap
import os
import struct
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lafs_pipeline.runtime.errors import LafsError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
WHOLE, FIRST, MIDDLE, LAST = range(4)
MAX_PART = (1 << 29) - 1
PART_HEADER = struct.Struct("<II")
IMAGE_HEADER = struct.Struct("<IfQQ")


class ImageRecord(NamedTuple):
    """One image of a RecordIO file.

    Attributes:
        labels: float32 labels of the header; the first is the identity number.
        encoded: The image as it was encoded (JPEG, PNG, ...).
    """

    labels: np.ndarray
    encoded: bytes


class RecordIOFile:
    """Records by their byte offset, memory-mapped; opens again after pickling.

    Raises:
        LafsError: The file is missing, empty or cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise LafsError(f"RecordIO file {self.path} does not exist.")
        try:
            if not self.path.stat().st_size:
                raise LafsError(f"RecordIO file {self.path} is empty.")
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LafsError(f"RecordIO file {self.path} cannot be opened ({error.strerror}).") from error

    def __reduce__(self) -> tuple:
        return type(self), (self.path,)

    def read(self, offset: int, starts: np.ndarray | None = None, name: str | None = None) -> bytes:
        """The payload of the record at a byte offset.

        Args:
            offset: Where the record starts.
            starts: Sorted offsets of records. With them the record's length is checked by all that the format
                gives; without, only by what follows, as is enough for records that were checked before.
            name: What an error calls the record.

        Raises:
            LafsError: There is no record or it is damaged; names file and record.
        """
        start, length, flag = self._part(offset, (WHOLE, FIRST), offset, name)
        parts = [self._map[start : start + length]]
        end = start + length + (-length % 4)
        while flag in (FIRST, MIDDLE):
            start, length, flag = self._part(end, (MIDDLE, LAST), offset, name)
            parts.append(self._map[start : start + length])
            end = start + length + (-length % 4)
        if starts is not None and any(map(_holds_magic, parts)):
            raise self._damaged(offset, name, "another record starts within it, its length is wrong")
        if length % 4 and self._map[start + length : end].strip(b"\0"):
            raise self._damaged(offset, name, f"its length of {length} bytes is wrong")
        if not self._ends_well(end, starts):
            raise self._damaged(offset, name, f"no record follows where it should end, at byte {end}")
        return MAGIC_BYTES.join(parts)

    def read_image(
        self, offset: int, starts: np.ndarray | None = None, name: str | None = None
    ) -> ImageRecord:
        """The labels and the encoded image of the record at a byte offset.

        Raises:
            LafsError: As :meth:`read`, or the record holds no image header.
        """
        payload = self.read(offset, starts, name)
        if len(payload) < IMAGE_HEADER.size:
            reason = f"{len(payload)} bytes are too few for an image header of {IMAGE_HEADER.size}"
            raise self._damaged(offset, name, reason)
        flag, label, _, _ = IMAGE_HEADER.unpack_from(payload)
        if not flag:
            return ImageRecord(np.array([label], np.float32), payload[IMAGE_HEADER.size :])
        start = IMAGE_HEADER.size + 4 * flag
        if len(payload) < start:
            reason = f"its header announces {flag} labels, its {len(payload)} bytes hold fewer"
            raise self._damaged(offset, name, reason)
        return ImageRecord(np.frombuffer(payload, "<f4", flag, IMAGE_HEADER.size), payload[start:])

    def read_labels(
        self, offset: int, starts: np.ndarray | None = None, name: str | None = None
    ) -> np.ndarray:
        """The float32 labels of the image record at a byte offset, mostly without reading its image.

        Raises:
            LafsError: As :meth:`read_image`.
        """
        start, length, _ = self._part(offset, (WHOLE, FIRST), offset, name)
        if length >= IMAGE_HEADER.size:
            flag, label, _, _ = IMAGE_HEADER.unpack_from(self._map, start)
            if not flag:
                return np.array([label], np.float32)
        return self.read_image(offset, starts, name).labels

    def scan(self) -> np.ndarray:
        """Find every record from front to back, (n,) int64 byte offsets.

        The magic word never stands at a multiple of 4 inside a payload, so that the search goes on behind
        damage. Damaged records are among those found, so that reading them tells what is wrong.
        """
        offsets = array("q")
        position, size = 0, len(self._map)
        while position < size:
            part = self._valid_part(position)
            if part is None:
                following = self._next_magic(position + 4, size)
                if not offsets or self._may_be_record(position, following):
                    offsets.append(position)
                position = following
                continue
            start, length, flag = part
            if flag in (WHOLE, FIRST) or not offsets:
                offsets.append(position)
            position = self._next_magic(start, start + length + (-length % 4))
        return np.frombuffer(offsets, np.int64).copy() if offsets else np.zeros(0, np.int64)

    def unindexed_bytes(self, starts: np.ndarray) -> int:
        """Bytes behind the last of the known records, 0 where that record is damaged."""
        position = int(starts[-1])
        while (part := self._valid_part(position)) is not None:
            start, length, flag = part
            position = start + length + (-length % 4)
            if flag in (WHOLE, LAST):
                return max(0, len(self._map) - position)
        return 0

    def _valid_part(self, position: int) -> tuple[int, int, int] | None:
        if not 0 <= position <= len(self._map) - PART_HEADER.size or position % 4:
            return None
        magic, word = PART_HEADER.unpack_from(self._map, position)
        start, length, flag = position + PART_HEADER.size, word & MAX_PART, word >> 29
        if magic != MAGIC or flag > LAST or start + length > len(self._map):
            return None
        return start, length, flag

    def _next_magic(self, start: int, end: int) -> int:
        """Where the next magic word stands at a multiple of 4 from `start` on; `end` if none does."""
        found = self._map.find(MAGIC_BYTES, start, end)
        while found >= 0 and found % 4:
            found = self._map.find(MAGIC_BYTES, found + 1, end)
        return end if found < 0 else found

    def _may_be_record(self, position: int, following: int) -> bool:
        """Whether damaged bytes are a record of their own and not what a wrong length left over."""
        if position + PART_HEADER.size > len(self._map):
            return False
        magic, word = PART_HEADER.unpack_from(self._map, position)
        length = word & MAX_PART
        return magic == MAGIC or position + PART_HEADER.size + length + (-length % 4) == following

    def _ends_well(self, end: int, starts: np.ndarray | None) -> bool:
        """Whether a record ends where another one starts or the file ends."""
        if end >= len(self._map):
            return True
        if self._map[end : end + 4] == MAGIC_BYTES and self._map[end + 7 : end + 8] < b"\x40":
            return True
        if starts is None:
            return self._map[end : end + 4] != MAGIC_BYTES
        place = int(np.searchsorted(starts, end))
        return place < len(starts) and starts[place] == end

    def _part(
        self, position: int, flags: tuple[int, ...], offset: int, name: str | None
    ) -> tuple[int, int, int]:
        start = position + PART_HEADER.size
        if not 0 <= position <= len(self._map) - PART_HEADER.size:
            reason = f"it should start at byte {position}, the file has {len(self._map)}"
            raise self._damaged(offset, name, reason)
        magic, word = PART_HEADER.unpack_from(self._map, position)
        flag, length = word >> 29, word & MAX_PART
        if magic != MAGIC or flag not in flags or position % 4:
            raise self._damaged(offset, name, f"no record starts at byte {position}")
        if start + length > len(self._map):
            reason = f"it should end at byte {start + length}, the file has {len(self._map)}"
            raise self._damaged(offset, name, reason)
        return start, length, flag

    def _damaged(self, offset: int, name: str | None, reason: str) -> LafsError:
        return LafsError(f"{self.path}, {name or f'record at byte {offset}'} is damaged: {reason}")


def _holds_magic(part: bytes) -> bool:
    """Whether the magic word stands at a multiple of 4, where it never does in a part of the right length."""
    found = part.find(MAGIC_BYTES)
    while found >= 0 and found % 4:
        found = part.find(MAGIC_BYTES, found + 1)
    return found >= 0
