"""Models in the catalog."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from torch import nn

from lafs_pipeline.interop.model_export import WEIGHTS, ModelExport, write_export
from lafs_pipeline.interop.model_files import load_model, save_model


class FaceModelDataset(AbstractDataset[nn.Module, nn.Module]):
    """A face model or landmark network as safetensors, with its sizes in the header.

    Args:
        filepath: of the `.safetensors` file.
        metadata: for Kedro-Viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> nn.Module:
        """Rebuild the model, in eval mode on the CPU."""
        return load_model(self._filepath)

    def save(self, data: nn.Module) -> None:
        """Write the model, whole or not at all."""
        save_model(data, self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ModelExportDataset(AbstractDataset[ModelExport, nn.Module]):
    """A folder to take away: a face model with its card, and in the formats of others.

    Args:
        filepath: of the folder.
        metadata: for Kedro-Viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> nn.Module:
        """Rebuild the model, in eval mode on the CPU."""
        return load_model(self._filepath / WEIGHTS)

    def save(self, data: ModelExport) -> None:
        """Write the folder."""
        write_export(data, self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / WEIGHTS).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
