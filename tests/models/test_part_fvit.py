import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from tests.models.trained import as_trained
from torch import nn

from lafs_pipeline.models.dino_head import DINOHead
from lafs_pipeline.models.landmark_network import (
    LandmarkNetwork,
    frozen_network,
    grid_landmarks,
    normalize_landmarks,
)
from lafs_pipeline.models.part_fvit import FViT, PartFViT, build_model
from lafs_pipeline.runtime.errors import LafsError

SMALL = {"dim": 48, "depth": 2, "heads": 3, "head_dim": 16, "mlp_dim": 64}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_base_size_is_the_published_one():
    model = timm.create_model("part_fvit_base_patch8_112")
    assert round(parameters(model) / 1e6, 1) == 67.0
    assert round(parameters(model.transformer) / 1e6, 1) == 64.1
    assert model.landmark_network.features(torch.zeros(1, 3, 112, 112)).shape == (1, 160, 4, 4)


def test_timm_knows_every_size():
    assert timm.list_models("part_fvit_*") == [f"part_fvit_{s}_patch8_112" for s in ("base", "small", "tiny")]
    assert timm.list_models("fvit_*") == [f"fvit_{s}_patch8_112" for s in ("base", "small", "tiny")]
    widths = [timm.create_model(name, depth=1).transformer.dim for name in timm.list_models("fvit_*")]
    assert widths == [768, 384, 192]


@torch.no_grad()
def test_the_transformer_is_its_formula():
    """Pre-norm blocks written out with explicit softmax attention and the full-width scale."""
    model = as_trained(PartFViT(num_landmarks=10, **SMALL)).eval()
    transformer, tokens = model.transformer, torch.randn(3, 7, 192)
    embedded = F.linear(tokens, transformer.patch_embedding.weight, transformer.patch_embedding.bias)
    x = torch.cat((transformer.class_token.expand(3, 1, 48), embedded), dim=1) + transformer.positions[:, :8]
    for block in transformer.blocks:
        y = F.layer_norm(x, (48,), block.norm1.weight, block.norm1.bias)
        q, k, v = (y @ part.T for part in block.attention.qkv.weight.chunk(3))
        heads = []
        for h in range(3):
            s = slice(16 * h, 16 * h + 16)
            heads.append(torch.softmax(q[..., s] @ k[..., s].mT * 48**-0.5, dim=-1) @ v[..., s])
        x = x + block.attention.projection(torch.cat(heads, dim=-1))
        x = x + block.mlp.fc2(
            F.gelu(block.mlp.fc1(F.layer_norm(x, (48,), block.norm2.weight, block.norm2.bias)))
        )
    expected = F.layer_norm(x, (48,), transformer.norm.weight, transformer.norm.bias)[:, 0]
    torch.testing.assert_close(model.encode(tokens), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tokens_that_know_their_landmark_may_come_in_any_order():
    model = as_trained(PartFViT(num_landmarks=10, **SMALL)).eval()
    tokens, indices = torch.randn(3, 4, 192), torch.tensor([[7, 1, 3, 0], [2, 9, 4, 8], [5, 5, 6, 0]])
    order = torch.tensor([2, 0, 3, 1])
    known, in_order = model.encode(tokens, indices), model.encode(tokens)
    torch.testing.assert_close(model.encode(tokens[:, order], indices[:, order]), known)
    assert (model.encode(tokens[:, order]) - in_order).abs().max() > 0.01
    torch.testing.assert_close(model.encode(tokens, torch.arange(4).expand(3, -1)), in_order)


def test_landmarks_span_the_image_jointly():
    landmarks = normalize_landmarks(torch.randn(5, 20), 112)
    assert landmarks.shape == (5, 10, 2)
    flat = landmarks.flatten(1)
    np.testing.assert_allclose(flat.min(dim=1).values, 0, atol=1e-5)
    np.testing.assert_allclose(flat.max(dim=1).values, 111, atol=1e-4)
    theta = torch.tensor([[0.0, 1.0, 2.0, 4.0]])
    torch.testing.assert_close(normalize_landmarks(theta, 5), theta[0].reshape(1, 2, 2))


def test_equal_coordinates_stay_finite():
    theta = torch.full((1, 4), 3.0, requires_grad=True)
    landmarks = normalize_landmarks(theta, 112)
    landmarks.sum().backward()
    assert landmarks.tolist() == [[[0, 0], [0, 0]]]
    assert torch.isfinite(theta.grad).all()


@torch.no_grad()
@pytest.mark.parametrize("side", [3, 14])
def test_fresh_landmarks_lie_on_the_grid(side):
    line = np.linspace(0, 111, side)
    grid = np.array([(x, y) for y in line for x in line], np.float32)
    landmarks = LandmarkNetwork(side**2, 0.25).eval()(torch.randn(2, 3, 112, 112))
    np.testing.assert_allclose(landmarks, [grid, grid], atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 10, 97])
def test_any_number_of_landmarks_has_a_grid(count):
    points = grid_landmarks(count)
    assert points.shape == (count, 2)
    assert len(points.unique(dim=0)) == count
    assert points.min() >= 0
    assert points.max() == (111 if count > 1 else 0)


def test_identity_gradients_train_the_landmark_network():
    model = as_trained(PartFViT(num_landmarks=9, patch_size=16, landmark_width=0.25, **SMALL))
    # Not the sum of all components: behind a LayerNorm that is a constant.
    model(torch.randn(4, 3, 112, 112))[:, 0].sum().backward()
    gradient = model.landmark_network.features[0][0].weight.grad
    assert gradient.abs().max() > 0


@torch.no_grad()
def test_a_frozen_network_finds_the_same_landmarks():
    network = as_trained(LandmarkNetwork(9, 0.25))
    network.train()
    for _ in range(3):
        network(torch.randn(8, 3, 112, 112))
    images = torch.randn(4, 3, 112, 112)
    frozen = frozen_network(network)
    assert network.training
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in frozen.modules())
    torch.testing.assert_close(frozen(images), network.eval()(images), rtol=0, atol=0.01)


def test_a_narrow_landmark_network_is_smaller():
    assert parameters(LandmarkNetwork(49, 0.5)) < parameters(LandmarkNetwork(49)) / 2
    assert LandmarkNetwork(49, 0.25)(torch.zeros(2, 3, 112, 112)).shape == (2, 49, 2)


@torch.no_grad()
def test_the_grid_model_takes_smaller_views():
    model = FViT(patch_size=16, **SMALL).eval()
    assert model(torch.randn(2, 3, 48, 48)).shape == (2, 48)
    images = torch.randn(2, 3, 112, 112)
    assert torch.equal(model(images), model(images))


@torch.no_grad()
def test_dino_logits_are_cosines_to_prototypes():
    head = DINOHead(12, 30, hidden_dim=16, bottleneck_dim=8)
    embeddings = torch.randn(5, 12)
    expected = F.cosine_similarity(head.mlp(embeddings)[:, None], head.last_layer.weight[None], dim=-1)
    torch.testing.assert_close(head(embeddings), expected)


def test_wrong_names_and_sizes_are_named():
    with pytest.raises(LafsError, match=r"'resnet50'; expected one of fvit_base"):
        build_model("resnet50", {})
    with pytest.raises(LafsError, match=r"has layers.*its sizes are num_landmarks, patch_size"):
        build_model("part_fvit_tiny_patch8_112", {"layers": 3})
    with pytest.raises(LafsError, match="no pretrained weights"):
        timm.create_model("fvit_tiny_patch8_112", pretrained=True)
