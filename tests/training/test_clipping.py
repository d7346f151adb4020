import copy

import pytest
import torch
from torch import nn

from lafs_pipeline.training.step import clip_gradients


def test_it_equals_pytorchs_clipping_of_each_parameter_alone():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    for scale, parameter in zip((0.01, 100, 1, 5), ours.parameters(), strict=True):
        parameter.grad = scale * torch.randn_like(parameter)
    theirs = copy.deepcopy(ours)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        reference.grad = mine.grad.clone()
    largest = clip_gradients(ours.parameters(), 3.0, "parameter")
    norms = [nn.utils.clip_grad_norm_([parameter], 3.0) for parameter in theirs.parameters()]
    assert torch.isclose(largest, max(norms))
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad)


def test_parameters_without_gradient_are_passed_over():
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.full((2, 2), 10.0)
    clip_gradients(layer.parameters(), 1.0, "parameter")
    assert torch.isclose(layer.weight.grad.norm(), torch.tensor(1.0), atol=1e-5)
    assert layer.bias.grad is None


@pytest.mark.parametrize("max_norm", [3.0, 1e6])
def test_the_common_norm_is_pytorchs(max_norm):
    torch.manual_seed(0)
    ours = nn.Linear(5, 7)
    for parameter in ours.parameters():
        parameter.grad = 10 * torch.randn_like(parameter)
    theirs = copy.deepcopy(ours)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        reference.grad = mine.grad.clone()
    norm = clip_gradients(ours.parameters(), max_norm, "global")
    assert torch.isclose(norm, nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("mode", ["parameter", "global"])
def test_without_a_limit_the_norm_is_measured_and_nothing_changes(mode):
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.grad = torch.full((2, 2), 10.0)
    assert clip_gradients(layer.parameters(), None, mode).item() == pytest.approx(20.0)
    assert torch.equal(layer.weight.grad, torch.full((2, 2), 10.0))
