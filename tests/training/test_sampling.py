from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.sampling import StepBatches, part_rows, plan_processes


@given(
    length=st.integers(1, 60),
    batch=st.integers(1, 12),
    parts=st.integers(1, 3),
    epochs=st.integers(1, 4),
    start=st.integers(0, 500),
)
def test_batches_go_on_from_any_step(length, batch, parts, epochs, start):
    size = batch * parts
    if length < size:
        with pytest.raises(LafsError, match="batch_size"):
            StepBatches(length, size, parts, epochs, seed=3)
        return
    whole = list(StepBatches(length, size, parts, epochs, seed=3))
    rest = StepBatches(length, size, parts, epochs, seed=3, start=min(start, len(whole) // parts))
    assert list(rest) == whole[rest.start * parts :]
    assert len(rest) == len(list(rest))


@given(length=st.integers(5, 60), seed=st.integers(0, 5))
def test_an_epoch_sees_every_image_at_most_once(length, seed):
    seen = Counter(draw for batch in StepBatches(length, 5, 1, 3, seed) for draw in batch)
    assert set(seen.values()) == {1}
    assert Counter(epoch for epoch, _ in seen) == dict.fromkeys(range(3), length // 5 * 5)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(index for batch in StepBatches(50, 50, 1, 2, seed) for epoch, index in batch if epoch == wanted)
        for seed in (0, 1)
        for wanted in (0, 1)
    }
    assert len(orders) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_parts_must_be_whole():
    with pytest.raises(LafsError, match="not a multiple of 3"):
        StepBatches(50, 10, 3, 1, 0)


@given(size=st.integers(1, 9), parts=st.integers(1, 5))
def test_parts_share_a_batch_out_and_mirror_as_it_does(size, parts):
    """Every row lies in one part; where sizes are even, the reversed batch is every part reversed."""
    batch = size * parts
    rows = [part_rows(batch, parts, part) for part in range(parts)]
    assert sorted(np.concatenate(rows).tolist()) == list(range(batch))
    assert {len(part) for part in rows} == {size}
    if size % 2 == 0 or parts == 1:
        assert all(np.array_equal(part[::-1], batch - 1 - part) for part in rows)


@given(processes=st.integers(1, 4), accumulation=st.integers(1, 6), start=st.integers(0, 3))
def test_any_number_of_processes_sees_the_same_steps(processes, accumulation, start):
    size, length = 60, 130
    alone = StepBatches(length, size, 1, 2, seed=5, start=start)
    own = -(-accumulation // processes)
    if size % (own * processes):
        with pytest.raises(LafsError, match=f"multiple of {own * processes}"):
            StepBatches(length, size, accumulation, 2, 5, start, 0, processes)
        return
    members = [
        StepBatches(length, size, accumulation, 2, 5, start, rank, processes) for rank in range(processes)
    ]
    streams = [list(member) for member in members]
    for step, batch in enumerate(alone):
        rebuilt = [None] * size
        for member, stream in zip(members, streams, strict=True):
            for rows, part in zip(member.rows, stream[step * own : (step + 1) * own], strict=True):
                for row, draw in zip(rows, part, strict=True):
                    rebuilt[row] = draw
        assert rebuilt == batch
        assert alone.step_indices(start + step).tolist() == [index for _, index in batch]


def test_the_published_batch_on_one_to_eight_devices():
    assert [plan_processes("auto", devices, 1, 164, 1) for devices in range(1, 9)] == [1, 2, 2, 4, 4, 4, 4, 4]


@given(
    devices=st.integers(1, 9),
    nodes=st.integers(1, 3),
    size=st.integers(1, 60),
    accumulation=st.integers(1, 6),
)
def test_auto_takes_the_largest_number_of_processes_that_share_the_batch(devices, nodes, size, accumulation):
    def fits(count):
        try:
            StepBatches(size, size, accumulation, 1, 0, world_size=count * nodes)
        except LafsError:
            return False
        return True

    fitting = [count for count in range(1, devices + 1) if fits(count)]
    if fitting:
        assert plan_processes("auto", devices, nodes, size, accumulation) == fitting[-1]
        assert plan_processes(fitting[0], 1, nodes, size, accumulation) == fitting[0]
    else:
        with pytest.raises(LafsError, match=r"set training\.batch_size to"):
            plan_processes("auto", devices, nodes, size, accumulation)


@pytest.mark.parametrize(("count", "advised"), [(3, [162, 165]), (8, [160, 168])])
def test_a_number_of_processes_that_does_not_fit_is_refused_with_batch_sizes_that_do(count, advised):
    with pytest.raises(LafsError, match=f"set training.batch_size to {advised[0]} or {advised[1]}"):
        plan_processes(count, 8, 1, 164, 1)
    assert [plan_processes(count, 8, 1, size, 1) for size in advised] == [count, count]
