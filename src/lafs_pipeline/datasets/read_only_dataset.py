"""What nodes read and Kedro does not write; it need not exist. torch is imported when one is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from kedro.io import AbstractDataset, DatasetError

from lafs_pipeline.runtime.files import local_path

if TYPE_CHECKING:
    from lafs_pipeline.evaluation.embeddings import EmbeddingStore

Loaded = TypeVar("Loaded")


class ReadOnlyDataset(AbstractDataset[None, Loaded]):
    """A local file or folder, of which there may be none yet.

    A subclass needs an `__init__` of its own, from whose arguments Kedro makes `catalog.to_config()`.

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


class EmbeddingsDataset(ReadOnlyDataset["EmbeddingStore"]):
    """A folder of embeddings, partitioned by model: one folder for each, named by the model's digest.

    Nodes get the store and no arrays: several processes and hosts write one file together, which is then
    read by memory map, and what is there already is not made again. Saved by Kedro, the arrays would pass
    through one process once more.
    """

    written_by = "the store that is loaded"

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)

    def load(self) -> "EmbeddingStore":
        """The store."""
        from lafs_pipeline.evaluation.embeddings import EmbeddingStore

        return EmbeddingStore(self.filepath)


class ModelDigestsDataset(ReadOnlyDataset[dict[str, str | None]]):
    """Which models lie in a folder, without loading them: the digests in their headers."""

    written_by = "the data set of the models"

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)

    def load(self) -> dict[str, str | None]:
        """SHA-256 of sizes and weights by name of the file; None where an older one does not tell."""
        from lafs_pipeline.interop.model_header import read_digest

        return {path.stem: read_digest(path) for path in sorted(self.filepath.glob("[!.]*.safetensors"))}
