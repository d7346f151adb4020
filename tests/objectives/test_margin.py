import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lafs_pipeline.objectives.margin import HEADS, AdaFace, ArcFace, CosFace, MixedLabels
from lafs_pipeline.runtime.errors import LafsError

DIM, CLASSES, BATCH = 16, 7, 5


def made_up(head_class: type[nn.Module]) -> tuple[nn.Module, torch.Tensor, torch.Tensor, np.ndarray]:
    """A head, embeddings, class numbers and the cosines, computed with NumPy."""
    torch.manual_seed(0)
    head = head_class(DIM, CLASSES)
    embeddings = 20 * torch.randn(BATCH, DIM)
    targets = torch.tensor([0, 3, 6, 3, 1])
    e, w = embeddings.double().numpy(), head.weight.detach().double().numpy()
    cosine = (e @ w.T) / np.linalg.norm(e, axis=1)[:, None] / np.linalg.norm(w, axis=1)
    return head, embeddings, targets, cosine


def test_cosface_meets_the_reference_for_hard_and_soft_targets(parity_dir):
    state = torch.load(parity_dir / "part_fvit_supervised.pth", weights_only=True)
    data = np.load(parity_dir / "part_fvit_forward.npz")
    weight = state["module.loss.weight"]
    head = CosFace(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight})
    embeddings = torch.from_numpy(data["embeddings"])
    for targets, logits in (("labels", "cosface_logits"), ("soft_targets", "cosface_logits_soft")):
        mine = head(embeddings, torch.from_numpy(data[targets])).detach().numpy()
        np.testing.assert_allclose(mine, data[logits], rtol=0, atol=5e-3)


def test_cosface_takes_the_margin_off_the_true_class():
    head, embeddings, targets, cosine = made_up(CosFace)
    cosine[np.arange(BATCH), targets] -= 0.4
    np.testing.assert_allclose(head(embeddings, targets).detach().numpy(), 64 * cosine, atol=1e-4)


def test_cosface_soft_targets_of_one_class_are_hard_targets():
    head, embeddings, targets, _ = made_up(CosFace)
    soft = F.one_hot(targets, CLASSES).float()
    torch.testing.assert_close(head(embeddings, soft), head(embeddings, targets))
    loss = F.cross_entropy(head(embeddings, soft), soft)
    torch.testing.assert_close(loss, F.cross_entropy(head(embeddings, targets), targets))


def test_mixed_labels_are_the_class_weights_of_mixup():
    labels = torch.tensor([0, 3, 6, 3, 1])
    mixed = MixedLabels(labels, labels.flip(0), torch.tensor(0.3))
    expected = 0.3 * F.one_hot(labels, CLASSES) + 0.7 * F.one_hot(labels.flip(0), CLASSES)
    torch.testing.assert_close(mixed.targets(CLASSES), expected)
    assert torch.equal(MixedLabels(labels).targets(CLASSES), labels)


def test_the_loss_of_mixed_labels_is_the_cross_entropy_of_soft_targets():
    head, embeddings, targets, _ = made_up(CosFace)
    mixed = MixedLabels(targets, targets.flip(0), torch.tensor(0.3))
    soft = mixed.targets(CLASSES)
    logits = 64 * (F.normalize(embeddings) @ F.normalize(head.weight).T - 0.4 * soft)
    torch.testing.assert_close(head.loss(embeddings, mixed), F.cross_entropy(logits, soft))


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_of_whole_labels_is_the_cross_entropy_of_the_logits(name):
    head, embeddings, targets, _ = made_up(HEADS[name])
    head.eval()
    expected = F.cross_entropy(head(embeddings, targets), targets)
    assert torch.equal(head.loss(embeddings, MixedLabels(targets)), expected)


@pytest.mark.parametrize("name", ["arcface", "adaface"])
def test_mixed_labels_are_for_cosface_alone(name):
    head, embeddings, targets, _ = made_up(HEADS[name])
    with pytest.raises(LafsError, match="turn mixup off"):
        head.loss(embeddings, MixedLabels(targets, targets.flip(0), torch.tensor(0.3)))


def test_arcface_adds_the_margin_to_the_angle_and_falls_on_beyond_pi():
    head, embeddings, targets, cosine = made_up(ArcFace)
    angle = np.arccos(cosine[np.arange(BATCH), targets])
    cosine[np.arange(BATCH), targets] = np.cos(angle + 0.5)
    np.testing.assert_allclose(head(embeddings, targets).detach().numpy(), 64 * cosine, atol=1e-3)

    angles = torch.linspace(0, math.pi, 200)
    with torch.no_grad():
        flat = ArcFace(2, 1, scale=1.0)
        flat.weight.copy_(torch.tensor([[1.0, 0.0]]))
        around = torch.stack([angles.cos(), angles.sin()], dim=1)
        logits = flat(around, torch.zeros(200, dtype=torch.long)).squeeze(1)
    assert (logits.diff() < 0).all()
    assert logits[-1].item() == pytest.approx(-1 - 0.5 * math.sin(0.5), abs=1e-3)


def test_adaface_follows_its_formula():
    head, embeddings, targets, cosine = made_up(AdaFace)
    head.eval()
    head.norm_mean.fill_(70.0)
    head.norm_std.fill_(8.0)
    norms = np.linalg.norm(embeddings.numpy(), axis=1).clip(0.001, 100)
    quality = np.clip(0.333 * (norms - 70) / (8 + 1e-3), -1, 1)
    rows = np.arange(BATCH)
    cosine[rows, targets] = np.cos(np.arccos(cosine[rows, targets]) - 0.4 * quality) - 0.4 * (1 + quality)
    assert np.ptp(quality) > 0.5
    np.testing.assert_allclose(head(embeddings, targets).detach().numpy(), 64 * cosine, atol=1e-3)


def test_adaface_follows_the_norms_in_training_alone():
    head, embeddings, targets, _ = made_up(AdaFace)
    head.eval()(embeddings, targets)
    assert (head.norm_mean.item(), head.norm_std.item()) == (20.0, 100.0)
    head.train()(embeddings, targets)
    norms = embeddings.norm(dim=1).clamp(0.001, 100)
    assert head.norm_mean.item() == pytest.approx(0.99 * 20 + 0.01 * norms.mean().item(), rel=1e-5)
    assert head.norm_std.item() == pytest.approx(0.99 * 100 + 0.01 * norms.std().item(), rel=1e-5)
    assert torch.isfinite(head(embeddings[:1], targets[:1])).all()
    assert set(head.state_dict()) == {"weight", "norm_mean", "norm_std"}


@pytest.mark.parametrize("head_class", [CosFace, ArcFace, AdaFace])
def test_logits_are_float32_under_autocast(head_class):
    head, embeddings, targets, _ = made_up(head_class)
    head.eval()
    expected = head(embeddings.bfloat16().float(), targets)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(embeddings.bfloat16(), targets)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("head_class", [CosFace, ArcFace, AdaFace])
def test_gradients_are_finite_at_the_ends_of_the_angle(head_class, sign):
    head, *_ = made_up(head_class)
    embeddings = (sign * 30 * head.weight.detach()).requires_grad_()
    F.cross_entropy(head(embeddings, torch.arange(CLASSES)), torch.arange(CLASSES)).backward()
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(head.weight.grad).all()


@pytest.mark.parametrize("head_class", [CosFace, ArcFace, AdaFace])
def test_the_length_of_class_vectors_does_not_count(head_class):
    head, embeddings, targets, _ = made_up(head_class)
    head.eval()
    before = head(embeddings, targets)
    with torch.no_grad():
        head.weight.mul_(torch.rand(CLASSES, 1) + 0.5)
    torch.testing.assert_close(head(embeddings, targets), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("head_class", "targets", "words"),
    [
        (ArcFace, torch.zeros(BATCH, CLASSES), "use CosFace"),
        (AdaFace, torch.zeros(BATCH, CLASSES), "use CosFace"),
        (CosFace, torch.zeros(BATCH, CLASSES + 1), r"\(5, 7\)"),
        (CosFace, torch.zeros(BATCH), "whole class number"),
        (ArcFace, torch.zeros(BATCH - 1, dtype=torch.long), "for 5 embeddings"),
    ],
)
def test_targets_that_do_not_fit_are_refused(head_class, targets, words):
    head, embeddings, *_ = made_up(head_class)
    with pytest.raises(LafsError, match=words):
        head(embeddings, targets)
