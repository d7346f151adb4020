"""What a node shows where it is there, and does without where it is not."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError

from lafs_pipeline.datasets.read_only_dataset import ReadOnlyDataset
from lafs_pipeline.runtime.errors import LafsError


class OptionalDataset(ReadOnlyDataset[Any]):
    """Another pipeline's data set, read where its file exists: Kedro has no inputs that may be missing.

    Args:
        dataset: configuration of the data set, with a local `filepath`.
        metadata: for Kedro-Viz.
    """

    written_by = "the pipeline that makes it"

    def __init__(self, dataset: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(dataset["filepath"], metadata)
        self._dataset = AbstractDataset.from_config("dataset", dataset)

    def load(self) -> Any:
        """The data; None without a file.

        Raises:
            LafsError: the file is damaged.
        """
        if not self.filepath.exists():
            return None
        try:
            return self._dataset.load()
        except DatasetError as error:
            raise LafsError(
                f"{self.filepath} cannot be read: {error.__cause__}. Remove it, or make it anew"
            ) from error
