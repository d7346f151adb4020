"""Partial FC in one process against the cross-entropy of dense logits; tests/training has two processes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.objectives.margin import HEADS, CosFace, MarginHead, MixedLabels
from lafs_pipeline.objectives.partial_fc import PartialFC
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.row_shards import RowShard

DIM, CLASSES, BATCH = 8, 40, 6


def heads(kind: type[MarginHead], classes: int = CLASSES) -> tuple[MarginHead, PartialFC]:
    """The whole head, and one that is sharded to one process, with the same weights."""
    torch.manual_seed(0)
    whole = kind(DIM, classes)
    torch.manual_seed(0)
    return whole, PartialFC(kind(DIM, classes, shard=RowShard.own(classes)))


def batch(classes: int, size: int, weight: float | None, seed: int = 0) -> tuple[torch.Tensor, MixedLabels]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = 5 * torch.randn(size, DIM, generator=generator)
    labels = torch.randint(classes, (size,), generator=generator)
    mixed = MixedLabels(labels, labels.flip(0), torch.tensor(weight)) if weight is not None else None
    return embeddings.requires_grad_(), mixed or MixedLabels(labels)


def gradients(loss: torch.Tensor, *wanted: torch.Tensor) -> list[torch.Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, wanted)]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(HEADS)),
    st.integers(1, 9),
    st.integers(1, 7),
    st.none() | st.floats(0, 1, width=32),
    st.integers(0, 10),
)
def test_at_rate_1_it_is_the_whole_head(name, classes, size, weight, seed):
    weight = weight if name == "cosface" else None
    whole, partial = heads(HEADS[name], classes)
    embeddings, labels = batch(classes, size, weight, seed)
    expected = gradients(whole.loss(embeddings, labels), embeddings, whole.weight)
    found = gradients(partial(embeddings, labels, 0), embeddings, partial.head.weight)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-5)
    for name, buffer in partial.head.named_buffers():
        torch.testing.assert_close(buffer, whole.get_buffer(name))


def drawn(partial: PartialFC, labels: MixedLabels, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and the classes that got a gradient."""
    embeddings, _ = batch(CLASSES, BATCH, None)
    loss, gradient = gradients(partial(embeddings, labels, seed), partial.head.weight)
    return loss, gradient.abs().sum(1).nonzero().squeeze(1)


@pytest.mark.parametrize("weight", [None, 0.3])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.71])
def test_a_sample_of_classes_is_compared_with(rate, weight):
    whole, partial = heads(CosFace)
    partial.sample_rate = rate
    embeddings, labels = batch(CLASSES, BATCH, weight)
    loss, kept = drawn(partial, labels, seed=5)
    present = labels.labels.unique()
    assert len(kept) == max(math.ceil(rate * CLASSES), len(present))
    assert set(present.tolist()) <= set(kept.tolist())
    targets = labels.targets(CLASSES) if weight else F.one_hot(labels.labels, CLASSES).float()
    logits = whole(embeddings, targets)[:, kept]
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets[:, kept]).detach())


def test_the_draw_is_a_function_of_the_seed_and_even():
    _, partial = heads(CosFace)
    partial.sample_rate = 0.5
    _, labels = batch(CLASSES, BATCH, None)
    first, again = drawn(partial, labels, 1)[1], drawn(partial, labels, 1)[1]
    assert torch.equal(first, again)
    counts = torch.zeros(CLASSES)
    for seed in range(400):
        counts[drawn(partial, labels, seed)[1]] += 1
    present = labels.labels.unique()
    assert (counts[present] == 400).all()
    others = torch.ones(CLASSES, dtype=torch.bool)
    others[present] = False
    share = (20 - len(present)) / (CLASSES - len(present))
    spread = (400 * share * (1 - share)) ** 0.5
    assert (counts[others] - 400 * share).abs().max() < 5 * spread


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_float32_under_autocast(dtype):
    whole, partial = heads(CosFace)
    embeddings, labels = batch(CLASSES, BATCH, None)
    embeddings = embeddings.detach().to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = partial(embeddings, labels, 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, whole.loss(embeddings.float(), labels))


@given(st.integers(1, 5), st.integers(1, 3000))
@settings(deadline=None, max_examples=20)
def test_the_start_of_a_class_does_not_depend_on_the_shards(count, classes):
    def start(shard: RowShard | None) -> torch.Tensor:
        torch.manual_seed(1)
        return CosFace(2, classes, shard=shard).weight.detach()

    parts = [start(RowShard.of(classes, rank, count)) for rank in range(count)]
    assert torch.equal(torch.cat(parts), start(None))


def test_the_start_is_xavier_uniform():
    weight = CosFace(64, 3000).weight
    bound = (6 / (3000 + 64)) ** 0.5
    assert weight.abs().max() < bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=bound / 100)
    assert len(weight.flatten().unique()) > 0.9 * weight.numel()


@pytest.mark.parametrize(
    ("kind", "labels", "words"),
    [
        ("arcface", MixedLabels(torch.tensor([0]), torch.tensor([1]), torch.tensor(0.5)), "turn mixup off"),
        ("cosface", MixedLabels(torch.tensor([0, 1])), "for 1 embeddings"),
        ("cosface", MixedLabels(torch.tensor([0.5])), "whole class number"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, labels, words):
    _, partial = heads(HEADS[kind])
    with pytest.raises(LafsError, match=words):
        partial(torch.rand(1, DIM), labels, 0)
