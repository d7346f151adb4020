import pytest
import torch
from scipy import stats
from torch import nn

from lafs_pipeline.models.dropout import Dropout, DropPath, random_mask


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_masks_are_independent_coin_throws(probability):
    torch.manual_seed(1)
    mask = random_mask(torch.Size((400, 501)), probability)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    zeros = int((mask == 0).sum())
    assert stats.binomtest(zeros, mask.numel(), probability).pvalue > 1e-3
    flat = mask.flatten()[: 4 * 50_000].reshape(-1, 4)
    correlation = torch.corrcoef(flat.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


def test_masks_follow_the_generator():
    torch.manual_seed(3)
    first, second = (random_mask(torch.Size((7, 5)), 0.5) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(random_mask(torch.Size((7, 5)), 0.5), first)
    assert not torch.equal(first, second)


def test_dropout_scales_what_it_keeps_and_its_gradient_alike():
    torch.manual_seed(0)
    x = torch.randn(300, 40, requires_grad=True)
    out = Dropout(0.25)(x)
    kept = out != 0
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(out[kept], x[kept] / 0.75)
    out.sum().backward()
    torch.testing.assert_close(x.grad, kept / 0.75)


@pytest.mark.parametrize("layer", [Dropout(0.5).eval(), Dropout(0.0)])
def test_no_dropout_is_the_identity(layer):
    x = torch.randn(3, 4)
    assert layer(x) is x


def test_a_kept_branch_is_computed_and_a_dropped_one_is_not():
    torch.manual_seed(0)
    seen = []
    x = torch.randn(500, 2, 3, requires_grad=True)

    def branch(kept):
        seen.append(len(kept))
        return 3 * kept

    out = DropPath(0.2)(x, x, branch)
    dropped = (out == x).all(dim=(1, 2))
    assert seen == [int((~dropped).sum())]
    assert stats.binomtest(int(dropped.sum()), 500, 0.2).pvalue > 1e-3
    torch.testing.assert_close(out[~dropped], x[~dropped] * (1 + 3 / 0.8))
    out.sum().backward()
    torch.testing.assert_close(x.grad[dropped], torch.ones_like(x[dropped]))
    torch.testing.assert_close(x.grad[~dropped], torch.full_like(x[~dropped], 1 + 3 / 0.8))


def test_its_expectation_is_the_branch():
    torch.manual_seed(0)
    x = torch.ones(1, 1, 1).expand(20_000, 1, 1)
    out = DropPath(0.3)(x, x, lambda kept: 5 * kept)
    assert out.mean().item() == pytest.approx(6.0, abs=0.1)


def test_all_samples_dropped_leave_the_residual():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3)
    layer = DropPath(0.999)
    assert torch.equal(layer(x, x, nn.Identity()), x)


def test_without_probability_or_in_evaluation_the_branch_is_added():
    x = torch.randn(4, 2, 3)
    for layer in (DropPath(0.0), DropPath(0.5).eval()):
        torch.testing.assert_close(layer(x[:, :1], x, lambda kept: kept[:, :1] * 2), x[:, :1] * 3)
