"""Pairs drawn among identities that are kept out of training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed, random_generator


def hold_out_identities(
    name: str, settings: BenchmarkSettings, identities: list[str], seed: int
) -> list[str]:
    """Choose identities of a source for a `held_out` benchmark, seeded by `seed` and `name`.

    Raises:
        LafsError: There are too few identities to hold some out and leave some for training.
    """
    share = settings.identities
    number = max(2, round(share * len(identities))) if share < 1 else int(share)
    if number < 2 or number >= len(identities):
        raise LafsError(
            f"Benchmark '{name}': {number} identities are to be held out of source '{settings.source}', "
            f"which has {len(identities)} for it. Hold out at least 2 and leave some for training."
        )
    chosen = random_generator(seed, "held out", name).choice(len(identities), number, replace=False)
    return [sorted(identities)[index] for index in chosen]


def held_out_pairs(
    name: str, settings: BenchmarkSettings, identities: Sequence[str], seed: int
) -> pd.DataFrame:
    """Draw the pairs of a `held_out` benchmark among images with these identities."""
    try:
        return draw_pairs(identities, settings.pairs, settings.folds, derive_seed(seed, "benchmark", name))
    except LafsError as error:
        raise LafsError(f"Benchmark '{name}', held out of source '{settings.source}': {error}") from error


def draw_pairs(identities: Sequence[str] | np.ndarray, count: int, folds: int, seed: int) -> pd.DataFrame:
    """Draw verification pairs, half of the same and half of different identities, none of them twice.

    Same-identity pairs are spread as evenly over the identities as their images allow; different-identity
    pairs are uniform over all such pairs of images. Every fold has as many of both kinds.

    Args:
        identities: (n,) identity of each image.
        count: Number of pairs, a multiple of 2 * folds.
        folds: Number of contiguous folds.
        seed: Seed of the draw.

    Returns:
        `count` rows: a, b (int64, positions in `identities`), is_same (bool), fold (from 0).

    Raises:
        LafsError: The count cannot be split, or there are not that many pairs.
    """
    if folds < 1 or count < 1 or count % (2 * folds):
        raise LafsError(
            f"{count} pairs cannot be split into {folds} folds of as many same as different pairs."
        )
    _, codes, sizes = np.unique(np.asarray(identities, dtype=str), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    half = count // 2
    available = {
        "same-identity": int((sizes * (sizes - 1) // 2).sum()),
        "different-identity": int((len(codes) ** 2 - (sizes**2).sum()) // 2),
    }
    for kind, number in available.items():
        if number < half:
            raise LafsError(
                f"{half} {kind} pairs were asked for, but {len(sizes)} identities with {len(codes)} images "
                f"give only {number}. Ask for at most {2 * min(available.values())} pairs or give more."
            )
    generator = random_generator(seed, "pairs", count, folds)
    same = generator.permutation(order[_same_pairs(sizes, half, generator)])
    different = order[_different_pairs(sizes, half, generator)]
    rows = np.stack([same.reshape(folds, -1, 2), different.reshape(folds, -1, 2)], axis=1)
    a, b = rows.reshape(-1, 2).T
    is_same = np.tile(np.repeat([True, False], half // folds), folds)
    return pd.DataFrame(
        {"a": a, "b": b, "is_same": is_same, "fold": np.repeat(np.arange(folds), count // folds)}
    )


def _same_pairs(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 2) positions in images sorted by identity, as many of each identity as can be."""
    available = sizes * (sizes - 1) // 2
    level = 0
    while np.minimum(available, level + 1).sum() <= count:
        level += 1
        if level >= available.max():
            break
    quota = np.minimum(available, level)
    more = generator.permutation(np.flatnonzero(available > level))[: count - quota.sum()]
    quota[more] += 1
    starts = np.cumsum(sizes) - sizes
    pairs = []
    for identity in np.flatnonzero(quota):
        drawn = generator.choice(available[identity], quota[identity], replace=False)
        second = ((1 + np.sqrt(1 + 8 * drawn)) // 2).astype(np.int64)
        pairs.append(starts[identity] + np.column_stack([drawn - second * (second - 1) // 2, second]))
    return np.concatenate(pairs)


def _different_pairs(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 2) positions in images sorted by identity, each with one of a later identity."""
    ends = np.repeat(np.cumsum(sizes), sizes)
    partners = np.cumsum(ends[-1] - ends)
    drawn = generator.choice(partners[-1], count, replace=False)
    first = np.searchsorted(partners, drawn, side="right")
    return np.column_stack([first, ends[-1] - (partners[first] - drawn)])
