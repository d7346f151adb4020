"""Figures in the catalog. Kedro makes every data set at start; matplotlib is imported by what draws."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType

from kedro.io import Version

from lafs_pipeline.datasets.path_dataset import PathDataset
from lafs_pipeline.runtime.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImagePreview = NewType("ImagePreview", str)
"""Kedro-Viz goes by the name of this type, and shows base64 of an image file."""


class FigureDataset(PathDataset["Figure", bytes]):
    """A figure saved as an image file, atomically, and loaded as that file's bytes.

    kedro-datasets' MatplotlibDataset imports matplotlib when it is made and loads nothing.
    """

    def __init__(
        self,
        filepath: str,
        save_args: dict[str, Any] | None = None,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, credentials, fs_args, metadata)
        self._save_args = save_args or {}

    def read(self, path: Path) -> bytes:
        """The image file."""
        return path.read_bytes()

    def write(self, data: "Figure", path: Path) -> None:
        """Draw the figure into an image file."""
        with whole_file(path) as temporary:
            data.savefig(temporary, **self._save_args)

    def preview(self) -> ImagePreview:
        """The image file as Kedro-Viz shows it."""
        return ImagePreview(base64.b64encode(self.load()).decode("ascii"))

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"save_args": self._save_args}
