"""Packed images in the catalog."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOReader


class RecordIODataset(AbstractDataset[Path, RecordIOReader]):
    """A RecordIO file that a node writes in place, record by record: saving takes its path.

    Args:
        filepath: of the `.rec` file.
        metadata: for Kedro-Viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> RecordIOReader:
        """Open the file by memory map."""
        return RecordIOReader(self._filepath)

    def save(self, data: Path) -> None:
        """Check that the node wrote where the catalog says."""
        if Path(data) != self._filepath or not self._filepath.is_file():
            raise LafsError(f"the catalog expects packed images at {self._filepath}, but {data} was written")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
