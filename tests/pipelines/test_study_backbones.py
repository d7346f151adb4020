"""Several models in one entry of the catalog."""

from pathlib import Path

import pytest
import torch
from kedro.io import DataCatalog

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader

CONF = Path(__file__).parents[2] / "conf"
TRANSFORMER = {"patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 32}


@pytest.fixture
def catalog(tmp_path, monkeypatch) -> DataCatalog:
    """The project's entry, in a data folder of this test."""
    monkeypatch.setenv("LAFS_DATA", str(tmp_path))
    entries = ProjectConfigLoader(str(CONF), **CONFIG_LOADER_ARGS)["catalog"]
    catalog = DataCatalog.from_config({"study_backbones": entries["study_backbones"]})
    # Hooks log instead of kedro-mlflow.
    catalog.get("study_backbones")._logging_activated = False
    return catalog


@pytest.fixture
def models() -> dict[str, torch.nn.Module]:
    return {
        "lafs": PartFViT(num_landmarks=9, landmark_width=0.25, **TRANSFORMER),
        "grid": FViT(**TRANSFORMER),
    }


def test_models_are_kept_one_a_file_and_loaded_when_they_are_called(catalog, models, tmp_path):
    assert not catalog.exists("study_backbones")
    catalog.save("study_backbones", models)
    assert catalog.exists("study_backbones")
    files = {path.name for path in (tmp_path / "06_models/study_backbones").iterdir()}
    assert files == {"lafs.safetensors", "grid.safetensors"}
    loaded = {name: load() for name, load in catalog.load("study_backbones").items()}
    assert loaded.keys() == models.keys()
    for name, model in loaded.items():
        assert (type(model), model.sizes) == (type(models[name]), models[name].sizes)
        for key, value in model.state_dict().items():
            assert torch.equal(value, models[name].state_dict()[key])
