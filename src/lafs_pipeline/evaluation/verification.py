"""Pair verification (LFW, CFP-FP, AgeDB-30, CALFW, CPLFW): same person or not, by distance and threshold.

Source: the ten-fold protocol of LFW (Huang et al. 2007) as in InsightFace's evaluation.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, roc_curve

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


def verify_pairs(
    embeddings_a: np.ndarray, embeddings_b: np.ndarray, is_same: np.ndarray, folds: int | np.ndarray = 10
) -> VerificationResult:
    """Cross-validated accuracy, ROC and error rates of pairs of embeddings.

    A pair is accepted when the squared distance of its normalised embeddings lies below the threshold; each
    fold's threshold is the lowest of those that are most often right on the other folds.

    Args:
        embeddings_a: (P, D) of any length; the sum of an image's and its mirror image's embeddings.
        embeddings_b: (P, D).
        is_same: (P,) true for pairs of one person.
        folds: how many contiguous folds, in the order of the pairs, or each pair's fold (P,).

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
    fold_accuracy, fold_threshold = _cross_validate(distance, is_same, _fold_index(folds, len(is_same)))
    scores = 1 - distance / 2
    far, tar, _ = roc_curve(is_same, -distance)
    carried = [rate for rate in FALSE_ACCEPT_RATES if rate * (~is_same).sum() >= 1]
    return VerificationResult(
        accuracy=float(fold_accuracy.mean()),
        std=float(fold_accuracy.std()),
        fold_accuracy=fold_accuracy,
        fold_threshold=fold_threshold,
        auc=float(auc(far, tar)),
        eer=float(np.interp(0, far + tar - 1, far)),
        tar_at_far=tar_at_far(-distance, is_same, carried),
        false_accept_rate=far,
        true_accept_rate=tar,
        scores=scores,
    )


def _cross_validate(
    distance: np.ndarray, is_same: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and threshold a fold, from counts of right answers by fold and threshold."""
    folds, steps = fold.max() + 1, len(THRESHOLDS)
    first_accepting = np.searchsorted(THRESHOLDS, distance, side="right")
    cell = (fold * 2 + is_same) * (steps + 1) + first_accepting
    counts = np.bincount(cell, minlength=folds * 2 * (steps + 1)).reshape(folds, 2, steps + 1)
    accepted = counts.cumsum(axis=2)[:, :, :steps]
    size = counts.sum(axis=(1, 2))
    right = accepted[:, 1] + counts[:, 0].sum(axis=1, keepdims=True) - accepted[:, 0]
    best = (right.sum(axis=0) - right).argmax(axis=1)
    return right[np.arange(folds), best] / size, THRESHOLDS[best]


def _fold_index(folds: int | np.ndarray, pairs: int) -> np.ndarray:
    """(pairs,) fold of each pair, numbered from 0 without gaps."""
    if np.ndim(folds):
        if len(folds) != pairs:
            raise LafsError(f"Pair verification got folds of {len(folds)} pairs for {pairs} pairs.")
        names, index = np.unique(folds, return_inverse=True)
        count = len(names)
    else:
        count = int(folds)
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
