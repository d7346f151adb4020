"""A class matrix sharded over two processes: loss, gradients, clipping and checkpoints are those of one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.overflow_workers import OVERFLOW_AT, START, STEPS, train_with_overflow
from tests.training.shard_workers import Case, Clipping, Work, made_up, optimize, share, work

from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.training.checkpoints.sharded_state import take_shards

MATRIX = "classes.head.weight"
CASES = [
    Case("cosface", 9),
    Case("cosface", 9, weight=0.3),
    Case("arcface", 8),
    Case("adaface", 7),
    Case("cosface", 1),
    Case("cosface", 40, 0.5, 0.7),
    Case("adaface", 41, 0.3),
    Case("arcface", 30, 0.01),
]
CLIPPINGS = [Clipping(limit, mode) for limit in (None, 3.0, 1e6) for mode in ("parameter", "global")]
WORK = Work(CASES, [Case("adaface", 7)], CLIPPINGS, 7)


@pytest.fixture(scope="module")
def together():
    return launch(work, WORK, LaunchSettings(processes=2))


@pytest.fixture(scope="module")
def alone():
    return work(WORK)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        message = f"{name} is {found[name]} instead of {value}"
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=message)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_loss_and_gradients_of_two_processes_are_those_of_one(together, alone, number):
    assert_close(together[0][number], alone[0][number])


@pytest.mark.parametrize("case", [case for case in CASES if case.sample_rate == 1], ids=str)
def test_those_of_one_are_those_of_the_whole_head(case):
    (found,) = share([case])
    head, embeddings, labels = made_up(case, None)
    embeddings.requires_grad_()
    loss = head.loss(embeddings, labels)
    loss.backward()
    gradients = {"embeddings": embeddings.grad, "weight": head.weight.grad}
    assert_close(found, {"loss": loss.detach(), **gradients, **dict(head.named_buffers())})


def test_the_whole_head_follows_the_lengths_in_all_processes(together, alone):
    assert_close(together[1][0], alone[1][0])
    assert alone[1][0]["norm_mean"] != 20.0


@pytest.mark.parametrize("number", range(len(CLIPPINGS)), ids=[str(clipping) for clipping in CLIPPINGS])
def test_clipping_sees_the_norm_of_the_whole_matrix(together, alone, number):
    assert_close(together[2][number], alone[2][number])


def test_checkpoints_hold_whole_matrices(together, alone):
    mine, theirs = together[3], alone[3]
    assert mine.weights[MATRIX].shape == (7, 8)
    assert_close(mine.weights, theirs.weights)
    assert mine.optimizer["param_groups"] == theirs.optimizer["param_groups"]
    for number, slots in theirs.optimizer["state"].items():
        assert_close(mine.optimizer["state"][number], slots)


@given(st.integers(1, 9), st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_every_number_of_processes_takes_its_rows(classes, count):
    whole = optimize(classes)
    parts = [take_shards(whole, {MATRIX: RowShard.of(classes, rank, count)}) for rank in range(count)]
    assert torch.equal(torch.cat([part.weights[MATRIX] for part in parts]), whole.weights[MATRIX])
    (number,) = [n for n, slots in whole.optimizer["state"].items() if slots["exp_avg"].ndim == 2][1:]
    for slot in ("exp_avg", "exp_avg_sq"):
        rows = [part.optimizer["state"][number][slot] for part in parts]
        assert torch.equal(torch.cat(rows), whole.optimizer["state"][number][slot])
    assert all(part.weights["model.weight"] is whole.weights["model.weight"] for part in parts)


def test_a_matrix_of_another_size_is_left_for_the_fitting_to_refuse():
    whole = optimize(5)
    part = take_shards(whole, {MATRIX: RowShard.of(6, 1, 2)})
    assert part.weights[MATRIX] is whole.weights[MATRIX]


def test_an_overflow_in_the_rows_of_one_process_is_one_in_all():
    first, second = launch(train_with_overflow, None, LaunchSettings(processes=2))
    assert torch.equal(first, second)
    skipped, scale, length = first.unbind(1)
    assert not skipped.any()  # half the scale is tried next
    assert scale.tolist() == [START if step < OVERFLOW_AT else START / 2 for step in range(STEPS)]
    assert length[OVERFLOW_AT] == length[OVERFLOW_AT - 1]
    assert len(set(length.tolist())) == STEPS - 1
