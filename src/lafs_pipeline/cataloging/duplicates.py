"""Images that are there more than once: equal bytes, or one photograph compressed, scaled or mirrored."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd

from lafs_pipeline.cataloging.hashes import thumbnail
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import typed_table

DUPLICATE_TYPES = (
    {"key_a": "string", "key_b": "string", "kind": "category", "mirrored": "bool", "distance": "int64"}
    | {"similarity": "float32", "identity_a": "string", "identity_b": "string", "same_identity": "boolean"}
    | {"split_a": "category", "split_b": "category"}
)
_DISTANCES = {100_000: 10, 2_000_000: 8}
_FEWEST_BITS = 6
_BATCH = 1 << 15
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

    The bits are split into more than `distance` blocks. Two near hashes are equal in all but `distance` of
    the blocks, so they are neighbors once the hashes are sorted by the right choice of blocks; every choice
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
        tries = pool.map(lambda mask: _neighbors(part, mask, distance), _masks(len(part), distance))
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


def _neighbors(hashes: np.ndarray, mask: np.uint64, distance: int) -> tuple[np.ndarray, np.ndarray]:
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


def find_duplicates(
    manifest: pd.DataFrame, distance: int | None = None, similarity: float = 0.9, threads: int = 1
) -> pd.DataFrame:
    """Exact and near duplicates among the images of a manifest.

    Exact duplicates have equal bytes. Near duplicates have perceptual hashes that differ in few bits and, at
    a second look, details that correlate: the hashes of millions of faces come close by chance, their details
    do not. Of images with equal bytes the first stands for all: it is paired with each of the others, and it
    alone is compared with different images.

    Args:
        manifest: The images, their stores at hand.
        distance: Most bits in which hashes of near duplicates differ; None takes 10 for up to 100,000 images,
            8 for up to 2,000,000 and 6 for more, since chance brings forth more neighbors among more images.
        similarity: Least correlation of :func:`lafs_pipeline.cataloging.hashes.thumbnail` of near duplicates.
        threads: Threads that search and look.

    Returns:
        One row per pair, a before b in the manifest, sorted by their places: key_a, key_b, kind (`exact` or
        `near`), mirrored, distance (bits), similarity, identity_a, identity_b, same_identity (missing where
        one is not known), split_a, split_b.

    Raises:
        LafsError: A store or a record cannot be read.
    """
    exact = manifest["exact_hash"].to_numpy()
    _, first, group = np.unique(exact, return_index=True, return_inverse=True)
    representative = first[group]
    copies = np.flatnonzero(representative != np.arange(len(manifest)))
    near = _near_duplicates(manifest, np.sort(first), distance, similarity, threads)
    exactly = (
        representative[copies],
        copies,
        np.zeros(len(copies)),
        np.ones(len(copies)),
        np.zeros(len(copies)),
    )
    a, b, bits, alike, mirrored = (np.concatenate(columns) for columns in zip(exactly, near, strict=True))
    kinds = np.repeat(["exact", "near"], [len(copies), len(near[0])])
    order = np.lexsort([b, a])
    a, b = a[order].astype(np.int64), b[order].astype(np.int64)
    side_a, side_b = manifest.iloc[a], manifest.iloc[b]
    identity_a, identity_b = (side["identity"].reset_index(drop=True) for side in (side_a, side_b))
    columns = {
        "key_a": side_a["key"],
        "key_b": side_b["key"],
        "kind": kinds[order],
        "mirrored": mirrored[order].astype(bool),
        "distance": bits[order].astype(np.int64),
        "similarity": alike[order],
        "identity_a": identity_a,
        "identity_b": identity_b,
        "same_identity": identity_a == identity_b,
        "split_a": side_a["split"],
        "split_b": side_b["split"],
    }
    return typed_table(DUPLICATE_TYPES, list(columns.values()))


def default_distance(images: int) -> int:
    """Bits in which the hashes of near duplicates may differ, by the number of images."""
    return next((bits for limit, bits in _DISTANCES.items() if images <= limit), _FEWEST_BITS)


def _near_duplicates(
    manifest: pd.DataFrame, rows: np.ndarray, distance: int | None, similarity: float, threads: int
) -> tuple[np.ndarray, ...]:
    """a, b, distance, similarity, mirrored of near duplicates among some rows."""
    hashes = manifest["perceptual_hash"].iloc[rows]
    rows = rows[hashes.notna().to_numpy()]
    distance = default_distance(len(rows)) if distance is None else distance
    pairs = find_near_pairs(hashes.dropna().to_numpy(np.int64), distance, threads)
    a, b = rows[pairs.a], rows[pairs.b]
    alike = np.zeros(len(a), np.float32)
    images = FaceImages(manifest)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(a), _BATCH):
            part = slice(start, start + _BATCH)
            members, places = np.unique([a[part], b[part]], return_inverse=True)
            looks = np.stack(list(pool.map(lambda row: thumbnail(images[row]), members)))
            left, right = looks[places.reshape(2, -1)]
            right = np.where(pairs.mirrored[part, None, None], right[:, :, ::-1], right)
            alike[part] = np.einsum("nij,nij->n", left, right)
    kept = alike >= similarity
    return a[kept], b[kept], pairs.distance[kept], alike[kept], pairs.mirrored[kept]
