"""The `.idx` beside a RecordIO file: one line a record, key, tab, byte offset."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

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
