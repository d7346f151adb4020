"""RecordIO files (`train.rec` beside `train.idx`), read in place by key.

An index has one line per record: key, tab, byte offset.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from lafs_pipeline.faces.recordio_format import (
    ImageRecord,
    RecordIOFile,
)
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file


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
            self.keys, self.offsets = find_or_rebuild_index(
                self.file, Path(index_folder) if index_folder else None
            )
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


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys and byte offsets, (n,) int64 each, in the order of the file.

    Raises:
        LafsError: The file is missing, has other lines, or a key is there twice.
    """
    if not path.is_file():
        raise LafsError(f"RecordIO index {path} does not exist.")
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(column_names=["key", "offset"], use_threads=False),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(
                column_types={"key": pa.int64(), "offset": pa.int64()}, null_values=[], check_utf8=False
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LafsError(
            f"{path} is not a RecordIO index (lines 'key TAB byte offset'): {error}. Move it away to "
            "have it rebuilt from the records."
        ) from error
    keys, offsets = table["key"].to_numpy(), table["offset"].to_numpy()
    if np.any(np.diff(keys) <= 0):
        found, uses = np.unique(keys, return_counts=True)
        if uses.max() > 1:
            raise LafsError(f"{path}: key {found[uses > 1][0]} is there more than once.")
    return keys, offsets


def find_or_rebuild_index(records: RecordIOFile, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Keys and byte offsets of a RecordIO file that has no index: keys count from 0 in the order of the file.

    Raises:
        LafsError: The index cannot be written.
    """
    if folder is None:
        offsets = records.scan()
        return np.arange(len(offsets)), offsets
    status = records.path.stat()
    identity = f"{records.path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    path = Path(folder) / f"{records.path.stem}-{digest}.idx"
    if path.is_file():
        return read_index(path)
    offsets = records.scan()
    keys = np.arange(len(offsets))
    try:
        with whole_file(path) as temporary:
            pd.DataFrame({"key": keys, "offset": offsets}).to_csv(
                temporary, sep="\t", header=False, index=False
            )
    except OSError as error:
        raise LafsError(f"The rebuilt index {path} cannot be written ({error.strerror}).") from error
    return keys, offsets
