"""Batch normalization in two processes against torch's own on the whole batch."""

import pytest
import torch
from tests.training.batch_norm_workers import (
    ROUNDS,
    far_from_zero,
    small_network,
    step,
    train_a_share,
    whole_batch,
)
from torch import nn

from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.sync_batch_norm import synchronize_batch_norm


@pytest.fixture(scope="module")
def shared() -> list[dict[str, torch.Tensor]]:
    return launch(train_a_share, None, LaunchSettings(processes=2))


@pytest.fixture(scope="module")
def alone() -> list[dict[str, torch.Tensor]]:
    network = small_network()
    network.train()
    network[3][2].eval()
    results = [step(network, *whole_batch(number)) for number in range(ROUNDS)]
    network.eval()
    return [*results, step(network, *whole_batch(ROUNDS)), dict(network.state_dict())]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_outputs_and_gradients_are_those_of_the_whole_batch(shared, alone, number):
    assert shared[number].keys() == alone[number].keys()
    for name, expected in alone[number].items():
        torch.testing.assert_close(shared[number][name], expected, msg=f"{name} differs")


def test_so_are_running_statistics_and_what_they_give_in_eval_mode(shared, alone):
    for mine, theirs in zip(shared[ROUNDS : ROUNDS + 2], alone[ROUNDS:], strict=True):
        assert mine.keys() == theirs.keys()
        for name, expected in theirs.items():
            torch.testing.assert_close(mine[name], expected, msg=f"{name} differs")


def test_a_mean_far_from_zero_costs_no_accuracy(shared):
    expected = nn.BatchNorm2d(2).double()(far_from_zero().double()).float()
    torch.testing.assert_close(shared[-1]["output"], expected, rtol=0, atol=2e-3)


def test_parameters_and_buffers_stay_the_same_objects():
    network = small_network()
    before = dict(network.named_parameters()) | dict(network.named_buffers())
    frozen = network[3][2]
    synchronize_batch_norm(network)
    after = dict(network.named_parameters()) | dict(network.named_buffers())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert network[3][2] is frozen
    assert type(network[1]) is not nn.BatchNorm2d
