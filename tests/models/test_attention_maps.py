"""Attention made again is the attention that the model computes fused."""

import numpy as np
import pytest
import torch

from lafs_pipeline.models.attention_maps import attention_maps, class_attention
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.models.patches import grid_patches, sample_patches

SIZES = {"patch_size": 16, "dim": 32, "depth": 3, "heads": 2, "head_dim": 16, "mlp_dim": 32}
TOKENS = 49


@pytest.fixture(params=["part_fvit_tiny_patch8_112", "fvit_tiny_patch8_112"])
def model(request):
    own = {"num_landmarks": TOKENS, "landmark_width": 0.25} if request.param.startswith("part") else {}
    return build_model(request.param, SIZES | own).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 112, 112) * 2 - 1


def test_rows_sum_to_one(model, images):
    attention, places = attention_maps(model, images)
    assert attention.shape == (3, 2, TOKENS + 1)
    assert places.shape == (3, TOKENS, 2)
    assert (attention >= 0).all()
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(3, 2))


@torch.inference_mode()
def test_weighted_values_are_what_the_model_computes(model, images):
    """The weights, applied to the values, give the output of the fused attention."""
    block = model.transformer.blocks[-1].attention
    calls = []
    hook = block.register_forward_hook(lambda module, inputs, output: calls.append((inputs[0], output)))
    model(images)
    hook.remove()
    ((x, output),) = calls
    attention, _ = attention_maps(model, images)
    value = block.qkv(x).unflatten(2, (3, block.heads, -1))[:, :, 2].transpose(1, 2)
    mixed = torch.einsum("bhn,bhnd->bhd", attention, value).flatten(1)
    torch.testing.assert_close(block.projection(mixed), output[:, 0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_one_head_of_one_image_by_hand(model, images):
    block = model.transformer.blocks[0].attention
    x = torch.randn(2, 5, 32)
    query, key, _ = block.qkv(x[1]).reshape(5, 3, 2, 16)[:, :, 1].unbind(1)
    products = [float(query[0] @ key[token]) * 32**-0.5 for token in range(5)]
    expected = np.exp(products) / np.exp(products).sum()
    np.testing.assert_allclose(class_attention(block, x)[1, 1].numpy(), expected, rtol=1e-5)


def test_places_are_where_patches_are_cut(model, images):
    """A patch whose first pixel is cut at place - 8 on the grid is the plain grid's patch."""
    _, places = attention_maps(model, images)
    if hasattr(model, "landmarks"):
        torch.testing.assert_close(places, model.landmarks(images))
        return
    first = sample_patches(images, places + 0.5, 16).unflatten(2, (16, 16, 3)).transpose(2, 3)
    torch.testing.assert_close(first.flatten(2), grid_patches(images, 16), atol=1e-4, rtol=1e-4)
