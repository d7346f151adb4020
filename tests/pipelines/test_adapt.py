"""A face model of every backbone."""

from functools import partial

import pandas as pd
import pytest
import torch
from tests.interop.timm_folder import write_timm_folder
from tests.training.small_trainings import draw_faces

from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.pipelines.adapt.nodes import adapt_models, choose_shots
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.checkpoints.folders import read_training

TRANSFORMER = {"patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 32}
TRAINING = {"epochs": 2, "warmup_epochs": 0, "batch_size": 8, "workers": 0}
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


def adapt(backbones, faces, folder, **changes):
    models = {name: partial(lambda model: model, model) for name, model in backbones.items()}
    wanted = ADAPT | changes
    return adapt_models(models, choose_shots(faces, wanted, 0), wanted, LAUNCH, 0, str(folder))


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


def test_a_model_of_timm_is_adapted_alike(backbones, faces, tmp_path):
    (tmp_path / "vit").mkdir()
    original = write_timm_folder(tmp_path / "vit")
    start = {"vit": {"name": f"local-dir:{tmp_path}/vit"}}
    found = adapt({"mine": backbones["mine"]}, faces, tmp_path / "checkpoints", timm=start)
    assert list(found) == ["mine", "vit"]
    assert found["vit"].sizes["image_size"] == 64
    before = original.state_dict()
    after = found["vit"].transformer.state_dict()
    moved = {name for name, value in after.items() if (value != before[name]).any()}
    assert {"cls_token", "pos_embed", "blocks.1.attn.qkv.weight", "norm.weight"} <= moved
    with pytest.raises(LafsError, match="timm has lafs, which is a row already"):
        adapt({}, faces, tmp_path, timm={"lafs": {"name": "vit_tiny_patch16_224"}})


def test_few_labeled_images_make_a_smaller_batch(backbones, faces, tmp_path):
    training = {"training": TRAINING | {"batch_size": 64}, "probe_images": 0}
    (model,) = adapt({"mine": backbones["mine"]}, faces, tmp_path, recognition=training).values()
    (folder,) = (path for path in (tmp_path / "adapt_mine").iterdir() if path.is_dir())
    assert read_training(folder).configuration["settings"]["training"]["batch_size"] == 8
    assert model_digest(model) != model_digest(backbones["mine"])
