"""Models in the catalog. Kedro makes every data set at start; torch is imported when one is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, Version

from lafs_pipeline.datasets.path_dataset import PathDataset
from lafs_pipeline.runtime.files import local_path

if TYPE_CHECKING:
    from torch import nn

    from lafs_pipeline.interop.model_export import ModelExport
    from lafs_pipeline.interop.model_files import FaceModel


class FaceModelDataset(PathDataset["FaceModel", "nn.Module"]):
    """A face model or landmark network as safetensors, with its sizes in the header."""

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, credentials, fs_args, metadata)

    def read(self, path: Path) -> "nn.Module":
        """Rebuild the model, in eval mode on the CPU."""
        from lafs_pipeline.interop.model_files import load_model

        return load_model(path)

    def write(self, data: "FaceModel", path: Path) -> None:
        """Write the model."""
        from lafs_pipeline.interop.model_files import save_model

        save_model(data, path)


class ModelExportDataset(AbstractDataset["ModelExport", "nn.Module"]):
    """A folder to take away: a face model with its card, and in the formats of others.

    Raises:
        LafsError: `filepath` is an address on another file system.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(local_path(filepath, "the data set's filepath"))
        self.metadata = metadata

    def load(self) -> "nn.Module":
        """Rebuild the model, in eval mode on the CPU."""
        from lafs_pipeline.interop.model_files import load_model

        return load_model(self._filepath)

    def save(self, data: "ModelExport") -> None:
        """Write the folder."""
        from lafs_pipeline.interop.model_export import write_export

        write_export(data, self._filepath.parent)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
