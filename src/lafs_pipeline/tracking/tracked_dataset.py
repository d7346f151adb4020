"""Data sets whose files are also artifacts of the MLflow run."""

from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from kedro.io import AbstractDataset, Version
from kedro_datasets.partitions import PartitionedDataset

from lafs_pipeline.tracking.tracker import tracker


class TrackedDataset(AbstractDataset[Any, Any]):
    """Any data set, whose file or folder is logged to the active MLflow run after it was saved.

    Of a partitioned data set the partitions that were saved are logged, into a folder of its name.

    Without an active run nothing is logged. Where MLflow fails, the data is saved all the same and a warning
    says what MLflow lacks.

    Args:
        dataset: configuration of the data set, with a local `filepath` or `path`.
        artifact_path: folder among the run's artifacts.
        version: where the entry says `versioned: true`, which belongs here and not into `dataset`.
        metadata: for Kedro-Viz, which also gets the data set's own preview.

    Raises:
        ValueError: where `dataset` names no place.
    """

    def __init__(
        self,
        dataset: dict[str, Any],
        artifact_path: str | None = None,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        place = dataset.get("filepath") or dataset.get("path")
        if place is None:
            raise ValueError(f"{dataset.get('type')} has neither filepath nor path: it cannot be an artifact")
        self.filepath, self.artifact_path, self.metadata = Path(place), artifact_path, metadata
        self._version = version
        self._suffix = dataset.get("filename_suffix", "")
        config = dict(dataset)
        if version is not None:
            config["versioned"] = True
        load_version, save_version = (version.load, version.save) if version else (None, None)
        self._dataset: Any = AbstractDataset.from_config("dataset", config, load_version, save_version)
        if hasattr(self._dataset, "preview"):
            self.preview = self._dataset.preview

    def load(self) -> Any:
        """The data."""
        return self._dataset.load()

    def save(self, data: Any) -> None:
        """Save the data, then log it."""
        self._dataset.save(data)
        if tracker.is_on and mlflow.active_run() is not None:
            for path, folder in self._saved_files(data):
                tracker.attempt(str(path), partial(mlflow.log_artifact, str(path), folder))

    def _saved_files(self, data: Any) -> list[tuple[Path, str | None]]:
        """What was saved, and the folder that it gets among the artifacts."""
        if isinstance(self._dataset, PartitionedDataset):
            folder = "/".join(filter(None, (self.artifact_path, self.filepath.name)))
            return [(self.filepath / f"{name}{self._suffix}", folder) for name in data]
        if self._version is None:
            return [(self.filepath, self.artifact_path)]
        # Kedro keeps versions of a file in a folder of its name.
        version = self.filepath / self._dataset.resolve_save_version() / self.filepath.name
        return [(version, self.artifact_path)]

    def _exists(self) -> bool:
        return self._dataset.exists()

    def _release(self) -> None:
        self._dataset.release()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath), "dataset": str(self._dataset)}
