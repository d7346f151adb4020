"""Images packed as RecordIO, read in place."""

import logging
from pathlib import Path

import numpy as np

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.sources.source import EncodedFace, checked_identity, shard_names, shard_paths

logger = logging.getLogger(__name__)


class RecordIOSource:
    """The images of one or several RecordIO files; identities are the numbers in the records' headers.

    Several files are shards of one set: equal numbers mean one person.

    Raises:
        LafsError: As :class:`RecordIOReader`, or a file holds no images.
    """

    names_are_people = False

    def __init__(
        self, path: Path | str | list[str], labeled: bool = True, index_folder: Path | str | None = None
    ) -> None:
        self.labeled = labeled
        paths = shard_paths(path, ".rec")
        self._names = shard_names(paths)
        self._readers = [RecordIOReader(shard, index_folder=index_folder) for shard in paths]
        self._keys = [_image_keys(reader) for reader in self._readers]
        self._ends = np.cumsum([len(keys) for keys in self._keys])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _find(self, index: int) -> tuple[int, int]:
        """Shard and record key of an image."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, int(self._keys[shard][index - self._ends[shard]])

    def key(self, index: int) -> str:
        """The record's key; before it the shard's name where there are several."""
        shard, key = self._find(index)
        return f"{self._names[shard]}{key}"

    def identity(self, index: int) -> str | None:
        """First label of the record."""
        if not self.labeled:
            return None
        shard, key = self._find(index)
        labels = self._readers[shard].read_labels(key)
        return checked_identity(float(labels[0]))

    def read(self, index: int) -> EncodedFace:
        """The record's image."""
        shard, key = self._find(index)
        return EncodedFace(self._readers[shard].read_image(key).encoded)

    def location(self, index: int) -> tuple[Path, int, int]:
        """File, key and byte offset of an image's record."""
        shard, key = self._find(index)
        return self._readers[shard].path, key, self._readers[shard].offset(key)


def _image_keys(reader: RecordIOReader) -> np.ndarray:
    if not len(reader):
        raise LafsError(f"RecordIO file {reader.path} holds no images (its index is empty).")
    behind = reader.file.unindexed_bytes(reader.starts)
    if behind:
        logger.warning(
            "%s: the index ends %d bytes before the file; the records there are left out. Where that is not "
            "meant, move the .idx away: it is then rebuilt.",
            reader.path,
            behind,
        )
    try:
        return reader.image_keys()
    except LafsError as error:
        keys = reader.keys[[_may_hold_image(reader, key) for key in reader.keys]]
        logger.warning("%s; taking the %d records that hold images.", error, len(keys))
        if not len(keys):
            raise
        return keys


def _may_hold_image(reader: RecordIOReader, key: int) -> bool:
    try:
        return key != 0 and bool(reader.read_image(key).encoded)
    except LafsError:
        return True
