"""Data sets of what the library writes and reads by a local path, on any file system."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar

import fsspec
from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import get_filepath_str, get_protocol_and_path

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")
LOCAL = "file"


class PathDataset(AbstractVersionedDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """A file; where it lies on no local disk, it goes through a temporary one.

    A subclass needs an `__init__` of its own, from whose arguments Kedro makes `catalog.to_config()`.

    Args:
        filepath: of the file, with a protocol such as `s3://` where it is not local.
        version: of Kedro, for entries with `versioned: true`.
        credentials: for the file system.
        fs_args: further arguments of the file system.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._protocol, path = get_protocol_and_path(filepath, version)
        self._fs = fsspec.filesystem(self._protocol, **(credentials or {}), **(fs_args or {}))
        self.metadata = metadata
        if self._protocol == LOCAL:
            path = Path(path).expanduser().as_posix()
        super().__init__(PurePosixPath(path), version, self._fs.exists, self._fs.glob)

    @abstractmethod
    def write(self, data: Saved, path: Path) -> None:
        """Write a local file, atomically."""

    @abstractmethod
    def read(self, path: Path) -> Loaded:
        """Read a local file."""

    def save(self, data: Saved) -> None:
        """Write it, then bring it where it belongs."""
        target = get_filepath_str(self._get_save_path(), self._protocol)
        if self._protocol == LOCAL:
            self.write(data, Path(target))
            return
        with TemporaryDirectory() as folder:
            local = Path(folder, self._filepath.name)
            self.write(data, local)
            self._fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            self._fs.put_file(str(local), target)
        self._fs.invalidate_cache(target)

    def load(self) -> Loaded:
        """Read it."""
        with self._local() as path:
            return self.read(path)

    @contextmanager
    def _local(self) -> Iterator[Path]:
        source = get_filepath_str(self._get_load_path(), self._protocol)
        if self._protocol == LOCAL:
            yield Path(source)
            return
        with TemporaryDirectory() as folder:
            local = Path(folder, self._filepath.name)
            self._fs.get_file(source, str(local))
            yield local

    def _exists(self) -> bool:
        try:
            path = self._get_load_path()
        except DatasetError:
            return False
        return self._fs.isfile(get_filepath_str(path, self._protocol))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "protocol": self._protocol, "version": self._version}
