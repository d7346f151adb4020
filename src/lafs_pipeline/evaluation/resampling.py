"""Confidence intervals of verification: what is drawn anew are people, not pairs.

Pairs that share a person are not independent, so that resampling pairs gives intervals that are too narrow
(Bolle, Ratha and Pankanti 2004; Fogliato, Patil and Perona 2023, arXiv 2306.01198). Here identities are drawn
with replacement, and a pair of different people counts as often as the product of how often both were drawn,
a pair of one person as often as that person: the vertex bootstrap (Snijders and Borgatti 1999), mildly
conservative for means over such crossed data (Owen and Eckles 2012). Intervals are percentiles. Where no pair
is wrong they have no width: the test is too easy to tell, which does not mean that there is no doubt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from lafs_pipeline.runtime.seeding import random_generator

LEVEL = 0.95
"""Of every interval."""
_LEVELS_ABOUT_A_RATE = 8192
"""Distinct scores on either side of a rate among which the nearest attained one is looked for."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of 95 %.

    Attributes:
        low: lower bound.
        high: upper bound.
        values: of every resample; those of two models on the same pairs are paired.
    """

    low: float
    high: float
    values: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def over(self, other: "Interval") -> "Interval | None":
        """Of the difference to another model on the same pairs; None where nothing was resampled alike."""
        if not self.values or len(self.values) != len(other.values):
            return None
        return _percentiles(np.subtract(self.values, other.values))


@dataclass(frozen=True, eq=False)
class PairUnits:
    """What is drawn with replacement, and which of it each pair hangs on."""

    first: np.ndarray
    """(P,) int32 unit of a pair."""
    second: np.ndarray
    """(P,) int32 its other unit, `count` where it has none."""
    count: int
    kind: str
    """`identity`, `template` or `pair`."""

    def draws(self, resamples: int, seed: int) -> Iterator[np.ndarray]:
        """How often each unit was drawn: (count + 1,) float64, the last one always 1."""
        generator = random_generator(seed, "bootstrap", self.kind, self.count)
        for _ in range(resamples):
            drawn = np.bincount(generator.integers(0, self.count, self.count), minlength=self.count + 1)
            drawn[-1] = 1
            yield drawn.astype(np.float64)

    def weights(self, drawn: np.ndarray) -> np.ndarray:
        """How often each pair counts in a resample: (P,) float64."""
        return drawn[self.first] * drawn[self.second]


def pair_units(
    is_same: np.ndarray, first: np.ndarray, second: np.ndarray, count: int, kind: str = "identity"
) -> PairUnits:
    """Units of pairs between numbered people or templates; the pairs themselves where people do not serve.

    People serve where every one is known and two are one exactly where a pair is of one person.

    Args:
        is_same: (P,) true for pairs of one person.
        first: (P,) numbers below `count`, negative where not known.
        second: (P,) likewise.
        count: of people or templates.
        kind: `identity`, or `template`, which serve in any case.
    """
    equal = first == second
    unknown = (first < 0).any() or (second < 0).any()
    if kind == "identity" and (unknown or not np.array_equal(equal, np.asarray(is_same, bool))):
        pairs = len(first)
        return PairUnits(np.arange(pairs, dtype=np.int32), np.full(pairs, pairs, np.int32), pairs, "pair")
    return PairUnits(first.astype(np.int32), np.where(equal, count, second).astype(np.int32), count, kind)


class Accepted(NamedTuple):
    """The weight of accepted pairs as the threshold falls from one distinct score to the next."""

    false: np.ndarray
    """(levels + 1,) of pairs of different people, from 0 up."""
    true: np.ndarray
    """(levels + 1,) of pairs of one person, from 0 up."""
    all_false: float
    """Weight of all pairs of different people."""
    all_true: float
    """Weight of all pairs of one person."""

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true accept rates; NaN where one kind of pairs has no weight."""
        with np.errstate(invalid="ignore"):
            return np.divide(self.false, self.all_false), np.divide(self.true, self.all_true)

    def tar_at_far(self, rates: Sequence[float]) -> list[float]:
        """True accept rates as `templates.tar_at_far` of a list that repeats its pairs by their weights."""
        if not self.all_false or not self.all_true:
            return [np.nan] * len(rates)
        return [_true_at(self.false, self.true, self.all_false, rate) / self.all_true for rate in rates]


class SortedPairs:
    """Scored pairs, sorted once, from which the rates of any resample are read.

    Args:
        scores: (P,) finite, higher is more alike.
        is_same: (P,) true for pairs of one person; pairs of both kinds.
        units: of the pairs.
        reach: highest false accept rate that will be asked for; pairs of different people far beyond it
            are counted and not kept.
    """

    def __init__(self, scores: np.ndarray, is_same: np.ndarray, units: PairUnits, reach: float = 1.0) -> None:
        is_same = np.asarray(is_same, bool)
        self._units = units.count
        different = np.flatnonzero(~is_same)
        kept = min(len(different), int(1.5 * reach * len(different)) + 2 * _LEVELS_ABOUT_A_RATE)
        self._all_different = None if kept == len(different) else _meetings(units, different)
        if self._all_different is not None:
            lowest = len(different) - kept
            bound = np.partition(scores[different], lowest)[lowest]
            different = different[scores[different] >= bound]
        same = np.flatnonzero(is_same)
        different = different[np.argsort(-scores[different], kind="stable")]
        same = same[np.argsort(-scores[same], kind="stable")]
        self._different = units.first[different], units.second[different]
        self._same = units.first[same], units.second[same]
        levels = np.unique(np.concatenate([-scores[different], -scores[same]]))
        self._different_up_to = np.searchsorted(-scores[different], levels, side="right")
        self._same_up_to = np.searchsorted(-scores[same], levels, side="right")

    def accepted(self, drawn: np.ndarray | None = None) -> Accepted:
        """What is accepted level by level where units count as often as they were `drawn`, or once."""
        drawn = np.ones(self._units + 1) if drawn is None else drawn
        different, same = (
            np.cumsum(np.concatenate([[0.0], drawn[first] * drawn[second]]))
            for first, second in (self._different, self._same)
        )
        total = different[-1] if self._all_different is None else drawn @ (self._all_different @ drawn)
        false = np.concatenate([[0.0], different[self._different_up_to]])
        true = np.concatenate([[0.0], same[self._same_up_to]])
        return Accepted(false, true, float(total), float(same[-1]))


def percentile_intervals(
    statistic: Callable[[np.ndarray], dict[str, float]], units: PairUnits, resamples: int, seed: int
) -> dict[str, Interval]:
    """Percentile intervals of what `statistic` gives.

    Args:
        statistic: how often each unit was drawn -> named values, NaN where a resample does not give one.
        units: what is drawn.
        resamples: how often; 0 gives no intervals.
        seed: of the draws.
    """
    if not resamples:
        return {}
    values = pd.DataFrame([statistic(drawn) for drawn in units.draws(resamples, seed)])
    return {str(name): _percentiles(values[name].to_numpy()) for name in values}


def _percentiles(values: np.ndarray) -> Interval:
    low, high = pd.Series(values).quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), tuple(map(float, values)))


def _meetings(units: PairUnits, pairs: np.ndarray) -> sparse.csr_array:
    """How many of `pairs` each two units have."""
    places = units.first[pairs], units.second[pairs]
    size = units.count + 1
    return sparse.coo_array((np.ones(len(pairs), np.int32), places), (size, size)).tocsr().astype(np.float64)


def _true_at(false: np.ndarray, true: np.ndarray, all_false: float, rate: float) -> float:
    """The weight of accepted pairs of one person where the false accept rate is nearest to `rate`.

    Points in equal steps along a straight stretch are left out, as `roc_curve` does; ties go to the largest.
    """
    place = int(np.searchsorted(false, rate * all_false))
    start = max(0, place - _LEVELS_ABOUT_A_RATE)
    first, part = slice(start, start + 1), slice(start, place + _LEVELS_ABOUT_A_RATE)
    moved = (np.diff(false[part]) > 0) | (np.diff(true[part]) > 0)
    later = start + 1 + np.flatnonzero(moved)
    if len(later) > 2:
        corner = (np.diff(false[later], 2) != 0) | (np.diff(true[later], 2) != 0)
        later = later[np.concatenate([[True], corner, [True]])]
    false, true = (np.concatenate([line[first], line[later]]) for line in (false, true))
    return float(true[len(false) - 1 - np.argmin(np.abs(false / all_false - rate)[::-1])])
