import torch
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.row_shards import RowShard


@given(st.integers(0, 200), st.integers(1, 17))
def test_shards_hold_every_row_once_and_differ_by_one(total, count):
    shards = [RowShard.of(total, rank, count) for rank in range(count)]
    whole = torch.arange(total)
    assert torch.equal(torch.cat([shard.take(whole) for shard in shards]), whole)
    sizes = [shard.rows for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_one_process_alone_holds_all_rows():
    shard, rows = RowShard.own(7), torch.rand(7, 2)
    assert (shard.first, shard.end) == (0, 7)
    assert torch.equal(shard.gather(rows), rows)


def test_what_is_taken_is_a_copy():
    whole = torch.zeros(4, 2)
    RowShard.of(4, 1, 2).take(whole).fill_(1)
    assert not whole.any()
