"""Figures in the catalog that a report can show again."""

from kedro.io.core import get_filepath_str
from kedro_datasets.matplotlib import MatplotlibDataset


class FigureDataset(MatplotlibDataset):
    """Saves a matplotlib figure as an image file and loads that file's bytes; kedro-datasets' only saves."""

    def load(self) -> bytes:
        """The image file."""
        with self._fs.open(get_filepath_str(self._get_load_path(), self._protocol), "rb") as stream:
            return stream.read()
