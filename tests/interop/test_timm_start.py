"""Vision transformers of timm as starts."""

import numpy as np
import pytest
import torch
from tests.interop.timm_folder import write_timm_folder
from tests.training.small_trainings import SIZES
from torch.nn import functional as F

from lafs_pipeline.interop.model_card import describe_model
from lafs_pipeline.interop.model_export import ModelExport, write_export
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.interop.timm_start import load_timm
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.models.timm_model import TimmModel
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.parameter_groups import freeze, layer_decay_groups


def test_a_folder_gives_the_same_embeddings_at_its_own_size_and_normalization(tmp_path):
    original = write_timm_folder(tmp_path)
    model = load_timm(f"local-dir:{tmp_path}")
    pixels = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    with torch.inference_mode():
        expected = original((pixels - mean) / std)
        np.testing.assert_allclose(model(2 * pixels - 1), expected, atol=1e-5)
        large = F.interpolate(pixels, 112, mode="bicubic", align_corners=False)
        smaller = F.interpolate(large, 64, mode="bicubic", align_corners=False)
        np.testing.assert_allclose(model(2 * large - 1), original((smaller - mean) / std), atol=1e-4)
    save_model(model, tmp_path / "saved.safetensors")
    again = load_model(tmp_path / "saved.safetensors")
    assert isinstance(again, TimmModel)
    assert model_digest(again) == model_digest(model)
    with torch.inference_mode():
        assert torch.equal(again(large), model(large))


def test_a_name_without_weights_begins_with_random_ones_at_a_size_of_ones_own():
    model = load_timm("vit_small_patch16_18x2_224", image_size=32)
    assert model.sizes["image_size"] == 32
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 112, 112)).shape == (1, 384)


def test_an_exported_model_of_ours_is_that_model(tmp_path):
    model = PartFViT(**SIZES)
    write_export(ModelExport(model, describe_model(model, "", {}), ()), tmp_path)
    again = load_timm(f"local-dir:{tmp_path}")
    assert isinstance(again, PartFViT)
    assert model_digest(again) == model_digest(model)


@pytest.mark.parametrize("name", ["vit_of_nobody", "local-dir:/no/such/folder", "resnet50t"])
def test_what_is_no_vision_transformer_is_named(name):
    with pytest.raises(LafsError, match=f"vision transformer of '{name}'"):
        load_timm(name)


def test_layers_of_timm_decay_and_freeze_as_ours_do(tmp_path):
    write_timm_folder(tmp_path)
    model = load_timm(f"local-dir:{tmp_path}")
    rates = {
        name.removeprefix("transformer."): group["lr_scale"]
        for group in layer_decay_groups(model, 0.1, 0.5, 0.1)
        for name in group["names"]
    }
    assert {rates[name] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")} == {0.125}
    assert (rates["blocks.0.attn.qkv.weight"], rates["blocks.1.mlp.fc1.bias"]) == (0.25, 0.5)
    assert rates["norm.weight"] == 1
    freeze(model, landmark_network=True, blocks=1)
    frozen = {name.split(".")[1] for name, value in model.named_parameters() if not value.requires_grad}
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert frozen == {"cls_token", "pos_embed", "patch_embed", "blocks"}
    assert all(name.startswith(("transformer.blocks.1.", "transformer.norm.")) for name in trained)
