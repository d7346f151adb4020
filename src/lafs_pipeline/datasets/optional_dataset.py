"""What a node uses where it is there, and does without where it is not."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError

from lafs_pipeline.runtime.errors import LafsError


class OptionalDataset(AbstractDataset[Any, Any]):
    """A data set that loads None where it does not exist: Kedro has no inputs that may be missing.

    `lafs_pipeline.hooks.guard` says which runs do without it.

    Args:
        dataset: configuration of the data set.
        metadata: for Kedro-Viz, which also gets the data set's own preview.
    """

    def __init__(self, dataset: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self.metadata, self.filepath = metadata, _place(dataset)
        self._dataset = AbstractDataset.from_config("dataset", dataset)
        if hasattr(self._dataset, "preview"):
            self.preview = self._dataset.preview

    def load(self) -> Any:
        """The data; None without any.

        Raises:
            LafsError: it is damaged.
        """
        if not self._dataset.exists():
            return None
        try:
            return self._dataset.load()
        except DatasetError as error:
            raise LafsError(
                f"{self.filepath} cannot be read: {error.__cause__}. Remove it, or make it anew"
            ) from error

    def save(self, data: Any) -> None:
        """Save the data."""
        self._dataset.save(data)

    def _exists(self) -> bool:
        return self._dataset.exists()

    def _release(self) -> None:
        self._dataset.release()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.filepath, "dataset": str(self._dataset)}


def _place(config: dict[str, Any]) -> str:
    return config["filepath"] if "filepath" in config else _place(config["dataset"])
