"""Figures saved in the catalog are read back as their files."""

import base64
import io
import subprocess
import sys

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
    assert base64.b64decode(dataset.preview()) == dataset.load()


def test_a_figure_that_cannot_be_drawn_leaves_the_one_before(tmp_path):
    dataset = FigureDataset(filepath=str(tmp_path / "plot.png"))
    dataset.save(Figure(figsize=(2, 1)))
    before = dataset.load()
    broken = Figure()
    broken.text(0, 0, "$\\unknown$")
    with pytest.raises(DatasetError, match="unknown"):
        dataset.save(broken)
    assert dataset.load() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_figure_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError):
        FigureDataset(filepath=str(tmp_path / "plot.png")).load()


def test_making_one_imports_no_matplotlib():
    made = "from lafs_pipeline.datasets.figure_dataset import FigureDataset; FigureDataset('plot.png')"
    code = f"{made}; import sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
