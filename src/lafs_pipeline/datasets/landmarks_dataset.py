"""Landmarks of faces in the catalog, read by memory map."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from kedro.io import AbstractDataset

from lafs_pipeline.runtime.files import local_path, whole_file

if TYPE_CHECKING:
    from lafs_pipeline.models.embedding import Embeddings


class LandmarksDataset(AbstractDataset["Embeddings", "Embeddings"]):
    """A folder with `points.npy`, (n, 4N) float32, and the faces of its rows in `keys.parquet`.

    Points are linked to the file that they were found in, and take no second place where links can be.

    Args:
        filepath: of the folder.
        metadata: for Kedro-Viz.

    Raises:
        LafsError: `filepath` is an address on another file system.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.folder, self.metadata = Path(local_path(filepath, "the data set's filepath")), metadata

    def save(self, data: "Embeddings") -> None:
        """Write keys last: without them there are no landmarks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keys.unlink(missing_ok=True)
        self._points.unlink(missing_ok=True)
        mapped = cast("np.memmap", data.vectors).filename
        try:
            self._points.hardlink_to(mapped)
        except OSError:
            shutil.copyfile(mapped, self._points)
        with whole_file(self._keys) as temporary:
            pd.DataFrame({"key": pd.array(data.rows.index, "string")}).to_parquet(temporary)

    def load(self) -> "Embeddings":
        """The points, of which those that are used are read."""
        from lafs_pipeline.models.embedding import Embeddings

        keys = pd.read_parquet(self._keys)["key"]
        return Embeddings(pd.Series(range(len(keys)), index=keys), np.load(self._points, mmap_mode="r"), "")

    @property
    def _keys(self) -> Path:
        return self.folder / "keys.parquet"

    @property
    def _points(self) -> Path:
        return self.folder / "points.npy"

    def _exists(self) -> bool:
        return self._keys.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.folder)}
