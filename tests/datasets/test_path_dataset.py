"""Models and figures on any file system, and in versions, as Kedro's own data sets."""

import io

import fsspec
import pytest
import torch
from kedro.io import DataCatalog, DatasetError
from matplotlib.figure import Figure
from PIL import Image

from lafs_pipeline.datasets.model_dataset import FaceModelDataset
from lafs_pipeline.models.part_fvit import build_model

SIZES = {"num_landmarks": 49, "patch_size": 16, "depth": 1, "dim": 32, "heads": 2, "head_dim": 16}
SIZES |= {"mlp_dim": 32, "landmark_width": 0.25}
TYPES = {
    "model": "lafs_pipeline.datasets.model_dataset.FaceModelDataset",
    "figure": "lafs_pipeline.datasets.figure_dataset.FigureDataset",
}
NAMES = {"model": "m.safetensors", "figure": "plot.png"}


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(0)
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    return {"model": model, "figure": Figure(figsize=(2, 1))}


def is_same(kind, loaded, saved):
    if kind == "figure":
        return Image.open(io.BytesIO(loaded)).size == (200, 100)
    weights = saved.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())


@pytest.fixture(params=["file", "memory"])
def root(request, tmp_path):
    """A folder on a file system."""
    return str(tmp_path) if request.param == "file" else f"memory://{tmp_path}"


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_saved_is_loaded(root, data, kind):
    config = {"type": TYPES[kind], "filepath": f"{root}/deep/{NAMES[kind]}"}
    catalog = DataCatalog.from_config({"it": config})
    assert not catalog.exists("it")
    assert catalog.to_config()[0]["it"]["filepath"] == config["filepath"]
    for _ in range(2):
        catalog.save("it", data[kind])
        assert catalog.exists("it")
        assert is_same(kind, catalog.load("it"), data[kind])


@pytest.mark.parametrize("kind", TYPES)
def test_every_save_is_a_version(root, data, kind):
    config = {"type": TYPES[kind], "filepath": f"{root}/{NAMES[kind]}", "versioned": True}
    for day in (1, 2):
        catalog = DataCatalog.from_config({"it": config}, save_version=f"2026-01-0{day}T00.00.00.000Z")
        catalog.save("it", data[kind])
    files, _ = fsspec.url_to_fs(root)
    versions = sorted(path.rsplit("/", 1)[-1] for path in files.ls(f"{root}/{NAMES[kind]}", detail=False))
    assert versions == ["2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"]
    old = DataCatalog.from_config({"it": config}, load_versions={"it": versions[0]})
    assert is_same(kind, old.load("it"), data[kind])
    with pytest.raises(DatasetError, match="must not exist if versioning is enabled"):
        catalog.save("it", data[kind])


def test_home_is_expanded(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    FaceModelDataset(filepath="~/mine.safetensors").save(data["model"])
    assert (tmp_path / "mine.safetensors").is_file()
