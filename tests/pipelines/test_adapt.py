"""A face model of every backbone."""

from functools import partial

import pandas as pd
import pytest
import torch
from tests.training.small_trainings import draw_faces

from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.pipelines.adapt.nodes import adapt_models, choose_shots

TRANSFORMER = {"patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 32}
TRAINING = {"epochs": 1, "batch_size": 8, "workers": 0}
ADAPT = {"shots": 2, "recognition": {"training": TRAINING, "probe_images": 0}}
LAUNCH = {"processes": 1}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> pd.DataFrame:
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=4, images=3)


@pytest.fixture(scope="module")
def backbones():
    torch.manual_seed(0)
    return {
        "lafs": PartFViT(num_landmarks=9, landmark_width=0.25, **TRANSFORMER),
        "mine": FViT(**TRANSFORMER),
    }


def adapt(backbones, faces, folder):
    models = {name: partial(lambda model: model, model) for name, model in backbones.items()}
    return adapt_models(models, choose_shots(faces, ADAPT, 0), ADAPT, LAUNCH, 0, str(folder))


def test_each_is_adapted_and_none_again_when_a_later_one_has_broken_off(backbones, faces, tmp_path):
    first = adapt({"lafs": backbones["lafs"]}, faces, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    both = adapt(backbones, faces, tmp_path)
    assert list(both) == ["lafs", "mine"]
    assert model_digest(both["lafs"]) == model_digest(first["lafs"]) != model_digest(backbones["lafs"])
    assert {path: path.stat().st_mtime_ns for path in files if path.is_file()} == {
        path: time for path, time in files.items() if path.is_file()
    }
    assert {path.name for path in tmp_path.iterdir()} == {"adapt_lafs", "adapt_mine"}
    for name, model in both.items():
        assert model.provenance.start == model_digest(backbones[name])


def test_without_labels_nothing_is_adapted_and_one_line_says_so(backbones, faces, tmp_path, caplog):
    unlabeled = faces.assign(identity=pd.Series(pd.NA, index=faces.index, dtype="string"))
    assert adapt(backbones, unlabeled, tmp_path) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "no training face has a label: no backbone is adapted"
    ]
