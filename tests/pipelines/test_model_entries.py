"""Several models in one entry of the catalog."""

from pathlib import Path

import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
TRANSFORMER = {"patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 32}


NAMES = ("backbones", "face_models", "study_backbones")


@pytest.fixture
def catalog(tmp_path, monkeypatch) -> DataCatalog:
    """The project's entries, in a data folder of this test."""
    monkeypatch.setenv("LAFS_DATA", str(tmp_path))
    entries = OmegaConfigLoader(str(CONF), **CONFIG_LOADER_ARGS)["catalog"]
    return DataCatalog.from_config({name: entries[name] for name in (*NAMES, "backbone_digests")})


@pytest.fixture
def models() -> dict[str, torch.nn.Module]:
    return {
        "lafs": PartFViT(num_landmarks=9, landmark_width=0.25, **TRANSFORMER),
        "grid": FViT(**TRANSFORMER),
    }


@pytest.mark.parametrize("entry", NAMES)
def test_models_are_kept_one_a_file_and_loaded_when_they_are_called(catalog, models, tmp_path, entry):
    assert not catalog.exists(entry)
    catalog.save(entry, models)
    assert catalog.exists(entry)
    files = {path.name for path in (tmp_path / "06_models" / entry).iterdir()}
    assert files == {"lafs.safetensors", "grid.safetensors"}
    loaded = {name: load() for name, load in catalog.load(entry).items()}
    assert loaded.keys() == models.keys()
    for name, model in loaded.items():
        assert (type(model), model.sizes) == (type(models[name]), models[name].sizes)
        for key, value in model.state_dict().items():
            assert torch.equal(value, models[name].state_dict()[key])


def test_a_model_that_is_saved_later_stands_beside_those_that_are_there(catalog, models):
    for name, model in models.items():
        catalog.save("face_models", {name: model})
    assert catalog.load("face_models").keys() == models.keys()


def test_digests_of_backbones_are_read_without_them(catalog, models, tmp_path):
    assert catalog.load("backbone_digests") == {}
    catalog.save("backbones", models)
    (tmp_path / "06_models/backbones/.lafs.x7.safetensors").write_bytes(b"left by a process that was killed")
    assert catalog.load("backbone_digests") == {name: model_digest(model) for name, model in models.items()}
