"""Embeddings in the catalog. Kedro makes every data set at start; torch is imported when one is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from lafs_pipeline.evaluation.embeddings import EmbeddingStore


class EmbeddingsDataset(AbstractDataset[None, "EmbeddingStore"]):
    """A folder of embeddings, partitioned by model: one folder for each, named by the model's digest.

    Nodes get the store and no arrays: several processes and hosts write one file together, which is then
    read by memory map, and what is there already is not made again. Saved by Kedro, the arrays would pass
    through one process once more.

    Args:
        filepath: of the folder, which need not exist.
        metadata: for Kedro-Viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "EmbeddingStore":
        """The store."""
        from lafs_pipeline.evaluation.embeddings import EmbeddingStore

        return EmbeddingStore(self._filepath)

    def save(self, data: None) -> None:
        """Refuse: the store writes for itself.

        Raises:
            DatasetError: always.
        """
        raise DatasetError("embeddings are written by the store that is loaded")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
