"""One entry of the catalog for as many things of a kind as there are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro_datasets.partitions import PartitionedDataset

from lafs_pipeline.runtime.files import local_path


class PartitionsDataset(PartitionedDataset):
    """A folder with a file for each partition; a node that leaves nothing leaves it empty.

    kedro-datasets' PartitionedDataset, whose arguments these are, refuses an empty folder, and takes for a
    partition what a process that was killed left half-written under a hidden name.

    Raises:
        LafsError: `path` is an address on another file system.
    """

    def __init__(self, *, path: str, filename_suffix: str, **arguments: Any) -> None:
        path = local_path(path, "the data set's path")
        super().__init__(path=path, filename_suffix=filename_suffix, **arguments)
        self.folder, self.suffix = Path(path), filename_suffix

    def load(self) -> dict[str, Callable[[], Any]]:
        """By partition, in the order of their names, a function that loads it."""
        if not any(path.is_file() for path in self.folder.glob(f"**/*{self.suffix}")):
            return {}
        return {name: load for name, load in super().load().items() if not name.startswith(".")}

    def save(self, data: dict[str, Any]) -> None:
        """Write these partitions; without `overwrite` others that are there stay."""
        super().save(data)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _exists(self) -> bool:
        return self.folder.is_dir()
