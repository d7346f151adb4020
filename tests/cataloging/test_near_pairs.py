"""Near hashes: the search finds what comparing each with each finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.cataloging.duplicates import find_near_pairs

hashes_of_few_bits = st.lists(
    st.one_of(
        st.integers(0, 2**64 - 1),
        st.sets(st.integers(0, 63), max_size=9).map(lambda bits: sum(1 << bit for bit in bits)),
        st.sets(st.integers(0, 63), max_size=9).map(lambda bits: 2**64 - 1 - sum(1 << bit for bit in bits)),
    ),
    max_size=40,
)


def each_with_each(hashes: np.ndarray, distance: int) -> list[tuple]:
    found = []
    for b in range(len(hashes)):
        for a in range(b):
            bits = int(hashes[a] ^ hashes[b]).bit_count()
            if min(bits, 64 - bits) <= distance:
                found.append((a, b, min(bits, 64 - bits), 64 - bits <= distance))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(hashes_of_few_bits, st.integers(0, 16))
def test_as_comparing_each_with_each(values, distance):
    hashes = np.array(values, np.uint64)
    found = find_near_pairs(hashes, distance, threads=2)
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == each_with_each(hashes, distance)


@pytest.mark.parametrize("distance", [6, 8, 10])
def test_planted_pairs_among_many(distance):
    generator = np.random.default_rng(distance)
    hashes = generator.integers(0, 2**64, 20_000, dtype=np.uint64)
    for pair in range(200):
        flipped = generator.choice(64, distance, replace=False)
        hashes[2 * pair + 1] = hashes[2 * pair] ^ np.bitwise_or.reduce(
            np.uint64(1) << flipped.astype(np.uint64)
        )
    hashes[401] = ~hashes[400]
    found = find_near_pairs(hashes.view(np.int64), distance)
    pairs = set(zip(found.a.tolist(), found.b.tolist(), strict=True))
    assert pairs >= {(2 * pair, 2 * pair + 1) for pair in range(201)}
    assert found.mirrored[(found.a == 400) & (found.b == 401)].all()
    assert (found.distance <= distance).all()
    assert len(pairs) == len(found.a) < 260


def test_a_crowd_of_equal_hashes():
    hashes = np.full(3000, 7, np.uint64)
    hashes[1500] = ~np.uint64(7)
    found = find_near_pairs(hashes, 4)
    assert set(found.b.tolist()) == set(range(1, 3000))
    assert len(found.a) == 50 * 49 // 2 + 2950
    assert not found.distance.any()
    assert found.b[found.mirrored].tolist() == [1500]
