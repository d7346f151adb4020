"""Figures in the catalog. Kedro makes every data set at start; matplotlib is imported by what draws."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from lafs_pipeline.runtime.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureDataset(AbstractDataset["Figure", bytes]):
    """A figure saved as an image file, whole or not at all, and loaded as that file's bytes.

    kedro-datasets' MatplotlibDataset imports matplotlib when it is made and loads nothing.

    Args:
        filepath: of the image file.
        save_args: of matplotlib's `savefig`.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self, filepath: str, save_args: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._save_args = save_args or {}
        self.metadata = metadata

    def load(self) -> bytes:
        """The image file."""
        return self._filepath.read_bytes()

    def save(self, data: "Figure") -> None:
        """Write the image file."""
        with whole_file(self._filepath) as temporary:
            data.savefig(temporary, **self._save_args)

    def preview(self) -> ImagePreview:
        """The image file as Kedro-Viz shows it."""
        return ImagePreview(base64.b64encode(self.load()).decode("ascii"))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "save_args": self._save_args}
