"""Embeddings in the catalog. Kedro makes every data set at start; torch is imported when one is used."""

from typing import TYPE_CHECKING, Any

from lafs_pipeline.datasets.read_only_dataset import ReadOnlyDataset

if TYPE_CHECKING:
    from lafs_pipeline.evaluation.embeddings import EmbeddingStore


class EmbeddingsDataset(ReadOnlyDataset["EmbeddingStore"]):
    """A folder of embeddings, partitioned by model: one folder for each, named by the model's digest.

    Nodes get the store and no arrays: several processes and hosts write one file together, which is then
    read by memory map, and what is there already is not made again. Saved by Kedro, the arrays would pass
    through one process once more.

    Args:
        filepath: of the folder, which need not exist.
        metadata: for Kedro-Viz.
    """

    written_by = "the store that is loaded"

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)

    def load(self) -> "EmbeddingStore":
        """The store."""
        from lafs_pipeline.evaluation.embeddings import EmbeddingStore

        return EmbeddingStore(self.filepath)
