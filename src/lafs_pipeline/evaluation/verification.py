"""Pair verification (LFW, CFP-FP, AgeDB-30, CALFW, CPLFW): same person or not, by distance and threshold.

Source: the ten-fold protocol of LFW (Huang et al. 2007) as in InsightFace's evaluation.
"""

from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import auc, roc_curve

from lafs_pipeline.evaluation.resampling import Interval, PairUnits, SortedPairs, percentile_intervals
from lafs_pipeline.evaluation.templates import FALSE_ACCEPT_RATES, tar_at_far
from lafs_pipeline.runtime.errors import LafsError

THRESHOLDS = np.arange(0, 4, 0.01)
"""Squared Euclidean distances of unit vectors: 0, 0.01, .. 3.99."""


@dataclass(frozen=True, eq=False)
class VerificationResult:
    """What one benchmark says of one model; rates are fractions."""

    accuracy: float
    """Mean over the folds."""
    std: float
    """Population standard deviation over the folds."""
    fold_accuracy: np.ndarray
    """(folds,) of each fold at its threshold."""
    fold_threshold: np.ndarray
    """(folds,) squared distance, chosen on the other folds."""
    auc: float
    eer: float
    tar_at_far: dict[float, float]
    """FAR -> TAR, for rates that at least one pair of different people makes up."""
    false_accept_rate: np.ndarray
    """(points,) ascending, with `true_accept_rate` the ROC curve."""
    true_accept_rate: np.ndarray
    scores: np.ndarray
    """(pairs,) cosine similarity, in the order of the pairs."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """By name of `metrics`."""

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        own = {"accuracy": self.accuracy, "fold_std": self.std, "auc": self.auc, "eer": self.eer}
        return own | rates_by_name("tar_at_far", self.tar_at_far)


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    units: PairUnits
    resamples: int
    seed: int


def rates_by_name(metric: str, values: dict[float, float]) -> dict[str, float]:
    """`tar_at_far_0.001` and the like."""
    return {f"{metric}_{rate:g}": value for rate, value in values.items()}


def verify_pairs(
    embeddings_a: np.ndarray,
    embeddings_b: np.ndarray,
    is_same: np.ndarray,
    folds: int | np.ndarray = 10,
    resampling: Resampling | None = None,
) -> VerificationResult:
    """Cross-validated accuracy, ROC and error rates of pairs of embeddings.

    A pair is accepted when the squared distance of its normalized embeddings lies below the threshold; each
    fold's threshold is the lowest of those that are most often right on the other folds.

    Args:
        embeddings_a: (P, D) of any length; the sum of an image's and its mirror image's embeddings.
        embeddings_b: (P, D).
        is_same: (P,) true for pairs of one person.
        folds: how many contiguous folds, in the order of the pairs, or each pair's fold (P,).
        resampling: makes the intervals; a resample keeps the folds, and chooses its thresholds anew.

    Raises:
        LafsError: shapes that do not fit, embeddings that are zero or not finite, pairs of one kind
            only, fewer than two folds, or more folds than pairs.
    """
    is_same = np.asarray(is_same).astype(bool)
    unit_a = _unit_length(embeddings_a, "first", len(is_same))
    unit_b = _unit_length(embeddings_b, "second", len(is_same))
    if unit_a.shape != unit_b.shape:
        raise LafsError(
            f"Pair verification got embeddings {unit_a.shape} and {unit_b.shape}; expected one shape."
        )
    if is_same.all() or not is_same.any():
        raise LafsError(
            "Pair verification needs pairs of the same person and pairs of different people; one is missing."
        )
    distance = np.square(unit_a - unit_b).sum(axis=1)
    cells = _Cells(distance, is_same, _fold_index(folds, len(is_same)))
    fold_accuracy, fold_threshold = cells.cross_validate()
    scores = 1 - distance / 2
    far, tar, _ = roc_curve(is_same, -distance)
    carried = carried_rates(is_same)
    return VerificationResult(
        accuracy=float(fold_accuracy.mean()),
        std=float(fold_accuracy.std()),
        fold_accuracy=fold_accuracy,
        fold_threshold=fold_threshold,
        auc=float(auc(far, tar)),
        eer=_equal_error_rate(far, tar),
        tar_at_far=tar_at_far(-distance, is_same, carried),
        false_accept_rate=far,
        true_accept_rate=tar,
        scores=scores,
        intervals={} if resampling is None else _intervals(cells, distance, is_same, carried, resampling),
    )


def carried_rates(is_same: np.ndarray) -> list[float]:
    """False accept rates that at least one pair of different people makes up."""
    different = np.count_nonzero(~np.asarray(is_same, bool))
    return [rate for rate in FALSE_ACCEPT_RATES if rate * different >= 1]


class _Cells:
    """The pairs in cells of fold, truth and first accepting threshold."""

    def __init__(self, distance: np.ndarray, is_same: np.ndarray, fold: np.ndarray) -> None:
        first_accepting = np.searchsorted(THRESHOLDS, distance, side="right")
        self._shape = fold.max() + 1, 2, len(THRESHOLDS) + 1
        self._cell = np.ravel_multi_index((fold, is_same.astype(int), first_accepting), self._shape)

    def cross_validate(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy (NaN for a fold without weight) and threshold a fold, from counts of right answers."""
        counts = np.bincount(self._cell, weights, np.prod(self._shape)).reshape(self._shape)
        accepted = counts.cumsum(axis=2)[:, :, :-1]
        size = counts.sum(axis=(1, 2))
        right = accepted[:, 1] + counts[:, 0].sum(axis=1, keepdims=True) - accepted[:, 0]
        best = (right.sum(axis=0) - right).argmax(axis=1)
        with np.errstate(invalid="ignore"):
            return right[np.arange(len(best)), best] / size, THRESHOLDS[best]


def _intervals(
    cells: _Cells, distance: np.ndarray, is_same: np.ndarray, rates: list[float], resampling: Resampling
) -> dict[str, Interval]:
    """Intervals of accuracy, AUC, EER and TAR at FAR."""
    units = resampling.units
    pairs = SortedPairs(-distance, is_same, units)
    names = list(rates_by_name("tar_at_far", dict.fromkeys(rates, 0.0)))

    def statistic(drawn: np.ndarray) -> dict[str, float]:
        accepted = pairs.accepted(drawn)
        far, tar = accepted.curve()
        accuracy, _ = cells.cross_validate(units.weights(drawn))
        whole = accepted.all_false > 0 and accepted.all_true > 0
        return {
            "accuracy": float(np.nanmean(accuracy)) if whole else np.nan,
            "auc": float(np.trapezoid(tar, far)),
            "eer": _equal_error_rate(far, tar),
        } | dict(zip(names, accepted.tar_at_far(rates), strict=True))

    return percentile_intervals(statistic, units, resampling.resamples, resampling.seed)


def _equal_error_rate(far: np.ndarray, tar: np.ndarray) -> float:
    return float(np.interp(0, far + tar - 1, far))


def _fold_index(folds: int | np.ndarray, pairs: int) -> np.ndarray:
    """(pairs,) fold of each pair, numbered from 0 without gaps."""
    given = np.asarray(folds)
    if given.ndim:
        if len(given) != pairs:
            raise LafsError(f"Pair verification got folds of {len(given)} pairs for {pairs} pairs.")
        names, index = np.unique(given, return_inverse=True)
        count = len(names)
    else:
        count = int(given)
        if count > pairs:
            raise LafsError(
                f"{pairs} pairs cannot be cut into {count} folds: give more pairs or fewer folds."
            )
        index = np.repeat(
            np.arange(count), [len(part) for part in np.array_split(np.arange(pairs), max(count, 1))]
        )
    if count < 2:
        raise LafsError(f"Pair verification got {count} folds; a threshold needs at least 2.")
    return index


def _unit_length(embeddings: np.ndarray, which: str, pairs: int) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2 or len(embeddings) != pairs:
        raise LafsError(
            f"Pair verification got {which} embeddings {embeddings.shape} for {pairs} pairs; expected (P, D)."
        )
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    bad = ~np.isfinite(length[:, 0]) | (length[:, 0] == 0)
    if bad.any():
        raise LafsError(
            f"{bad.sum()} of {pairs} {which} embeddings are zero or not finite, first that of pair "
            f"{bad.argmax()}: look at the model and at that image."
        )
    return embeddings / length
