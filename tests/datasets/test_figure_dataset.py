"""Figures saved in the catalog are read back as their files."""

import io

import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from lafs_pipeline.datasets.figure_dataset import FigureDataset


def test_the_file_of_a_saved_figure_is_loaded(tmp_path):
    dataset = FigureDataset(filepath=str(tmp_path / "plots/plot.png"), save_args={"dpi": 150})
    assert not dataset.exists()
    dataset.save(Figure(figsize=(2, 1)))
    assert dataset.exists()
    assert dataset.load() == (tmp_path / "plots/plot.png").read_bytes()
    assert Image.open(io.BytesIO(dataset.load())).size == (300, 150)


def test_a_figure_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError):
        FigureDataset(filepath=str(tmp_path / "plot.png")).load()
