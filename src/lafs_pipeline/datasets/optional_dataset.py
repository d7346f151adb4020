"""What a node shows where it is there, and does without where it is not."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from lafs_pipeline.runtime.errors import LafsError


class OptionalDataset(AbstractDataset[None, Any]):
    """Another pipeline's data set, read where its file exists: Kedro has no inputs that may be missing.

    Args:
        dataset: configuration of the data set, with a local `filepath`.
        metadata: for Kedro-Viz.
    """

    def __init__(self, dataset: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self.filepath, self.metadata = Path(dataset["filepath"]), metadata
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

    def save(self, data: None) -> None:
        """Refuse: the pipeline that makes the file has an entry of its own for it.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{self.filepath} is only read here")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath), "dataset": str(self._dataset)}
