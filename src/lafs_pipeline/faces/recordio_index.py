"""The `.idx` beside a RecordIO file: one line a record, key, tab, byte offset."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from lafs_pipeline.faces.recordio_format import RecordIOFile
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file


def read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys and byte offsets, (n,) int64 each, in the order of the file.

    Raises:
        LafsError: The file is missing, has other lines, or a key is there twice.
    """
    if not path.is_file():
        raise LafsError(f"RecordIO index {path} does not exist.")
    try:
        table = pd.read_csv(
            path, sep="\t", header=None, names=["key", "offset"], dtype=np.int64, index_col=False
        )
    except (ValueError, OSError, OverflowError) as error:
        raise LafsError(
            f"{path} is not a RecordIO index (lines 'key TAB byte offset'): {error}. Move it away: "
            "it is then rebuilt from the records."
        ) from error
    keys, offsets = table["key"].to_numpy(), table["offset"].to_numpy()
    if np.any(np.diff(keys) <= 0) and not table["key"].is_unique:
        raise LafsError(f"{path}: key {keys[table['key'].duplicated()][0]} is there more than once.")
    return keys, offsets


def find_or_rebuild_index(records: RecordIOFile, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Keys and byte offsets of a RecordIO file that has no index: keys count from 0 in the order of the file.

    Args:
        records: The file.
        folder: Where the rebuilt index is kept for the next time; None does not keep it.

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
