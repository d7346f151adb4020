"""What a node reads and Kedro does not write; it need not exist."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from kedro.io import AbstractDataset, DatasetError

from lafs_pipeline.runtime.files import local_path

Loaded = TypeVar("Loaded")


class ReadOnlyDataset(AbstractDataset[None, Loaded]):
    """A local file or folder, of which there may be none yet.

    A subclass needs an `__init__` of its own, from whose arguments Kedro makes `catalog.to_config()`.

    Args:
        filepath: of the file or folder.
        metadata: for Kedro-Viz.

    Raises:
        LafsError: `filepath` is an address on another file system.
    """

    written_by: ClassVar[str]
    """Who writes it, for the message."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.filepath, self.metadata = Path(local_path(filepath, "the data set's filepath")), metadata

    def save(self, data: None) -> None:
        """Refuse.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{self.filepath} is only read here; it is written by {self.written_by}")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath)}
