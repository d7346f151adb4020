"""The manifest in the catalog, saved atomically: what it names stays usable whenever a run is killed."""

from pathlib import Path
from typing import Any, NewType

import pandas as pd
from kedro.io import Version

from lafs_pipeline.datasets.path_dataset import PathDataset
from lafs_pipeline.runtime.files import whole_file

TablePreview = NewType("TablePreview", dict[str, Any])
"""Kedro-Viz goes by the name of this type, and shows columns and rows."""


class ManifestDataset(PathDataset[pd.DataFrame, pd.DataFrame]):
    """A table as a Parquet file; kedro-datasets' ParquetDataset writes over the file that is there."""

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath, version, credentials, fs_args, metadata)

    def read(self, path: Path) -> pd.DataFrame:
        """The table; stores in a data folder that was moved or copied are those that came along."""
        table = pd.read_parquet(path)
        if "store" in table:
            table["store"] = table["store"].cat.rename_categories(self._place)
        return table

    def _place(self, store: str) -> str:
        data, parts = Path(self._filepath).parent.parent, Path(store).parts
        places = (data.joinpath(*parts[start:]) for start in range(1, len(parts) - 1))
        return next((str(place) for place in places if place.is_file()), store)

    def write(self, data: pd.DataFrame, path: Path) -> None:
        """Write the table."""
        with whole_file(path) as temporary:
            data.to_parquet(temporary)

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, as Kedro-Viz shows them."""
        return TablePreview(self.load().head(nrows).to_dict(orient="split"))
