"""Which of millions of 64-bit hashes differ in few bits, without comparing each with each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

_BITS = 64
_SORT_COST, _PAIR_COST = 150.0, 15.0
_MOST_FOLLOWERS = 1000
_MOST_EQUAL = 50
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


class NearPairs(NamedTuple):
    """Pairs of positions a < b, in order.

    Attributes:
        a: (m,) int64.
        b: (m,) int64.
        distance: (m,) uint8 number of bits in which the hashes differ.
        mirrored: (m,) bool, whether one hash has to be inverted first.
    """

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    mirrored: np.ndarray


def find_near_pairs(hashes: np.ndarray, distance: int, threads: int = 1) -> NearPairs:
    """All pairs of hashes that differ in at most `distance` bits, as they are or with one of them inverted.

    The bits are dealt out to more than `distance` blocks. Two near hashes are equal in all but `distance` of
    the blocks, so they are neighbours once the hashes are sorted by the right choice of blocks; every choice
    is tried. Of hashes that agree in all chosen blocks each is compared with the 1,000 that follow it, and of
    equal hashes those after the 50th are paired with the first alone: a thousand copies of one picture are no
    million findings.

    Source: Manku et al., "Detecting near-duplicates for web crawling", WWW 2007, section 3.

    Args:
        hashes: (n,) int64 or uint64.
        distance: From 0 to 16.
        threads: Choices of blocks that are tried at the same time.

    Returns:
        The pairs, each once.
    """
    hashes = np.ascontiguousarray(hashes).view(np.uint64)
    count = len(hashes)
    searched, found = _without_crowds(hashes)
    part = hashes[searched]
    with ThreadPoolExecutor(threads) as pool:
        tries = pool.map(lambda mask: _neighbours(part, mask, distance), _masks(len(part), distance))
        for a, b in tries:
            if len(a):
                found = np.union1d(found, searched[a] * count + searched[b])
    a, b = np.divmod(found, max(count, 1))
    differing = np.bitwise_count(hashes[a] ^ hashes[b])
    mirrored = differing > _BITS // 2
    return NearPairs(a, b, np.where(mirrored, _BITS - differing, differing).astype(np.uint8), mirrored)


def _without_crowds(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of at most 50 of each hash, sorted, and a * n + b of the others paired with the first."""
    upright = np.where(hashes & np.uint64(1), hashes ^ _ONES, hashes)
    order = np.argsort(upright, kind="stable")
    starts = np.flatnonzero(np.append(True, upright[order][1:] != upright[order][:-1])[: len(order)])
    first = np.repeat(starts, np.diff(np.append(starts, len(order))))
    crowded = np.arange(len(order)) - first >= _MOST_EQUAL
    return np.sort(order[~crowded]), np.unique(order[first[crowded]] * len(order) + order[crowded])


def _masks(count: int, distance: int) -> Iterator[np.uint64]:
    """Every choice of blocks to sort by, for the number of blocks that costs least."""
    blocks = min(range(distance + 1, distance + 8), key=lambda number: search_cost(count, distance, number))
    masks = [sum(1 << bit for bit in range(block, _BITS, blocks)) for block in range(blocks)]
    for chosen in combinations(masks, blocks - distance):
        yield np.uint64(sum(chosen))


def search_cost(count: int, distance: int, blocks: int) -> float:
    """About how many nanoseconds a search takes for hashes that are evenly distributed."""
    kept_bits = _BITS * (blocks - distance) / blocks - 1
    return comb(blocks, distance) * count * (_SORT_COST + _PAIR_COST * count / 2 ** (kept_bits + 1))


def _neighbours(hashes: np.ndarray, mask: np.uint64, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Near pairs a < b that agree under `mask`, one of them inverted where needed."""
    lowest = mask & (~mask + np.uint64(1))
    upright = np.where(hashes & lowest, hashes ^ _ONES, hashes)
    order = np.argsort(upright & mask)
    upright = upright[order]
    group = upright & mask
    found = [np.zeros((2, 0), np.int64)]
    first = np.flatnonzero(group[1:] == group[:-1])
    for step in range(1, _MOST_FOLLOWERS + 1):
        if not len(first):
            break
        near = first[np.bitwise_count(upright[first] ^ upright[first + step]) <= distance]
        if len(near):
            found.append(np.stack([order[near], order[near + step]]))
        first = first[first + step + 1 < len(group)]
        first = first[group[first] == group[first + step + 1]]
    pairs = np.concatenate(found, axis=1)
    return pairs.min(axis=0), pairs.max(axis=0)
