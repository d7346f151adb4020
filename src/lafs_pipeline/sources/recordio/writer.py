"""RecordIO files (`train.rec` beside `train.idx`), written."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

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
)
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
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
        several = list(label) if isinstance(label, Sequence) else None
        labels = np.array([label] if several is None else several, np.float64)
        if np.any((labels != labels.astype(np.float32)) & (labels == np.floor(labels)) & np.isfinite(labels)):
            raise LafsError(
                f"{self.path}, record {key}: label {label} is not exact in float32; use numbers below 2^24."
            )
        if several is not None:
            header = IMAGE_HEADER.pack(len(several), 0.0, image_id, 0)
            header += struct.pack(f"<{len(several)}f", *several)
        else:
            header = IMAGE_HEADER.pack(0, label, image_id, 0)
        return self.write(key, header + encoded)

    def _unwritable(self, error: OSError) -> LafsError:
        return LafsError(f"{self.path} cannot be written ({error.strerror}); nothing was left there.")


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
