"""RecordIO files (`train.rec` beside `train.idx`): read in place by key, and written."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from lafs_pipeline.faces.recordio_format import (
    FIRST,
    IMAGE_HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_PART,
    MIDDLE,
    PART_HEADER,
    WHOLE,
    ImageRecord,
    RecordIOFile,
)
from lafs_pipeline.faces.recordio_index import find_or_rebuild_index, read_index
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

__all__ = ["ImageRecord", "RecordIOFile", "RecordIOReader", "RecordIOWriter"]


class RecordIOWriter:
    """Write `path` and its `.idx`; both appear when the block ends well, neither when it raises.

    Example:
        >>> with RecordIOWriter("faces.rec") as writer:
        ...     writer.write_image(1, jpeg_bytes, label=0)

    Raises:
        LafsError: The files cannot be written (a folder that is read-only, a full disk).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._files = ExitStack()
        self._keys: set[int] = set()

    def __enter__(self) -> "RecordIOWriter":
        try:
            with ExitStack() as files:
                record_path = files.enter_context(whole_file(self.path))
                index_path = files.enter_context(whole_file(self.path.with_suffix(".idx")))
                self._records = files.enter_context(record_path.open("wb"))
                self._index = files.enter_context(index_path.open("w"))
                self._files = files.pop_all()
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool | None:
        try:
            return self._files.__exit__(kind, error, trace)
        except OSError as failure:
            raise self._unwritable(failure) from failure

    @property
    def count(self) -> int:
        """Number of records written."""
        return len(self._keys)

    def write(self, key: int, payload: bytes) -> int:
        """Append one record.

        Returns:
            The byte offset of the record.

        Raises:
            LafsError: The key was used before, the payload is 512 MiB or larger, or the disk is full.
        """
        if key in self._keys:
            raise LafsError(f"{self.path}: record key {key} is written twice; keys must be unique.")
        if len(payload) > MAX_PART:
            raise LafsError(
                f"{self.path}, record {key}: {len(payload)} bytes, the format holds at most {MAX_PART}."
            )
        self._keys.add(key)
        parts = list(_split_at_magic(payload))
        try:
            offset = self._records.tell()
            self._index.write(f"{key}\t{offset}\n")
            for number, part in enumerate(parts):
                if len(parts) == 1:
                    flag = WHOLE
                else:
                    flag = FIRST if number == 0 else LAST if number == len(parts) - 1 else MIDDLE
                self._records.write(PART_HEADER.pack(MAGIC, flag << 29 | len(part)) + part)
            self._records.write(bytes(-len(parts[-1]) % 4))
        except OSError as error:
            raise self._unwritable(error) from error
        return offset

    def write_image(self, key: int, encoded: bytes, label: float | Sequence[float], image_id: int = 0) -> int:
        """Append an encoded image with one label, or with several (as InsightFace's own records have).

        Returns:
            The byte offset of the record.

        Raises:
            LafsError: As :meth:`write`, or a label is a whole number that float32 cannot hold.
        """
        several = isinstance(label, Sequence)
        labels = np.array(label if several else [label], np.float64)
        if np.any((labels != labels.astype(np.float32)) & (labels == np.floor(labels)) & np.isfinite(labels)):
            raise LafsError(
                f"{self.path}, record {key}: label {label} is not exact in float32; use numbers below 2^24."
            )
        if several:
            header = IMAGE_HEADER.pack(len(label), 0.0, image_id, 0) + struct.pack(f"<{len(label)}f", *label)
        else:
            header = IMAGE_HEADER.pack(0, label, image_id, 0)
        return self.write(key, header + encoded)

    def _unwritable(self, error: OSError) -> LafsError:
        return LafsError(f"{self.path} cannot be written ({error.strerror}); nothing was left there.")


class RecordIOReader:
    """Random access to the records of a RecordIO file by key, memory-mapped; opens again after pickling.

    Args:
        path: The `.rec` file.
        index: Its index; the `.idx` beside it if not given. Where there is none, the records are counted by a
            scan.
        index_folder: Where an index that had to be rebuilt is kept for the next time.

    Raises:
        LafsError: A file is missing, or the index is not one.
    """

    def __init__(
        self, path: Path | str, index: Path | str | None = None, index_folder: Path | str | None = None
    ) -> None:
        self.file = RecordIOFile(path)
        self.path = self.file.path
        beside = self.path.with_suffix(".idx")
        if index is not None or beside.exists():
            self.keys, self.offsets = read_index(Path(index) if index is not None else beside)
        else:
            self.keys, self.offsets = find_or_rebuild_index(self.file, index_folder and Path(index_folder))
        self._order = None if np.all(np.diff(self.keys) > 0) else np.argsort(self.keys, kind="stable")
        self.starts, self._shared = self.offsets, np.zeros(0, np.int64)
        if np.any(np.diff(self.offsets) <= 0):
            self.starts, uses = np.unique(self.offsets, return_counts=True)
            self._shared = self.starts[uses > 1]

    def __len__(self) -> int:
        return len(self.keys)

    def offset(self, key: int) -> int:
        """The byte offset of a record.

        Raises:
            LafsError: There is no such key, or another key has the same offset.
        """
        position = np.searchsorted(self.keys, key, sorter=self._order)
        if self._order is not None and position < len(self):
            position = self._order[position]
        if position >= len(self) or self.keys[position] != key:
            raise LafsError(f"{self.path}: its index has no record {key} ({len(self)} records).")
        offset = int(self.offsets[position])
        if len(self._shared) and offset in self._shared:
            raise LafsError(f"{self.path}, record {key}: its index gives byte {offset} to several records.")
        return offset

    def read(self, key: int) -> bytes:
        """The payload of one record.

        Raises:
            LafsError: There is no such key, or the record is damaged; names file and record.
        """
        return self.file.read(self.offset(key), self.starts, f"record {key}")

    def read_image(self, key: int) -> ImageRecord:
        """The labels and the encoded image of one record.

        Raises:
            LafsError: As :meth:`read`, or the record holds no image header.
        """
        return self.file.read_image(self.offset(key), self.starts, f"record {key}")

    def read_labels(self, key: int) -> np.ndarray:
        """The float32 labels of one image record, mostly without reading its image.

        Raises:
            LafsError: As :meth:`read_image`.
        """
        return self.file.read_labels(self.offset(key), self.starts, f"record {key}")

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
        images = self.keys[(self.keys > 0) & (self.keys < labels[0])]
        if not len(images) or not self._is_border(int(images.max()), labels[0]):
            raise LafsError(
                f"{self.path}, record 0 is damaged: it says that images come before record {labels[0]:.0f}, "
                "but the records say otherwise"
            )
        return images

    def _is_border(self, last_image: int, first_identity: float) -> bool:
        """Whether images may end and identity records begin here; True where damage hides it."""
        for key, has_image in ((last_image, True), (first_identity, False)):
            try:
                if np.any(self.keys == key) and bool(self.read_image(int(key)).encoded) != has_image:
                    return False
            except LafsError:
                continue
        return True


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
