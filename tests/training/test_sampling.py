from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.sampling import StepBatches


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
    with pytest.raises(LafsError, match="not a multiple of accumulation"):
        StepBatches(50, 10, 3, 1, 0)
