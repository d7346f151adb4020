"""1:N identification: who in the gallery is this, and is it anyone at all.

Source: Maze et al. 2018 (IJB-C), section 4; Grother and Ngan 2014 (NIST IR 8009).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lafs_pipeline.runtime.errors import LafsError

_PROBES_A_BLOCK = 1024
_PROBES_AMONG_IMAGES = 128


@dataclass(frozen=True)
class IdentificationResult:
    """Fractions of mated searches: those whose subject stands in the gallery."""

    mated: int
    non_mated: int
    rank_rate: dict[int, float]
    """k -> fraction whose subject is among the k best."""
    tpir_at_fpir: dict[float, float]
    """FPIR -> TPIR, for rates that at least one non-mated search makes up."""


def identify(
    gallery_features: np.ndarray,
    gallery_subjects: np.ndarray,
    probe_features: np.ndarray,
    probe_subjects: np.ndarray,
    false_positive_rates: Sequence[float] = (1e-2, 1e-1),
    ranks: Sequence[int] = (1, 5),
) -> IdentificationResult:
    """Search every probe template in one gallery.

    A search is a false positive when a probe whose subject is not in the gallery scores above the
    threshold with anyone; the threshold is the lowest that keeps the fraction of those at or below the
    given rate. A true positive is a mated search whose own subject scores above it. Equal scores count
    against the search, so that a collapsed model ranks last. IJB-C has two galleries, each the other's
    source of non-mated probes: call once a gallery and average.

    Args:
        gallery_features: (G, D) of length 1, one per subject.
        gallery_subjects: (G,) whole numbers, each once.
        probe_features: (P, D) of length 1.
        probe_subjects: (P,) whole numbers.
        false_positive_rates: FPIR to report TPIR at.
        ranks: k to report the rank-k rate at.

    Raises:
        LafsError: shapes that do not fit, features that are not finite, a subject twice in the gallery,
            or no probe with its subject in the gallery.
    """
    _check(gallery_features, gallery_subjects, probe_features, probe_subjects)
    order = np.argsort(gallery_subjects)
    subjects = np.asarray(gallery_subjects)[order]
    slot = np.minimum(np.searchsorted(subjects, probe_subjects), len(subjects) - 1)
    mate = np.where(subjects[slot] == probe_subjects, order[slot], -1)

    rank, mate_score, best_stranger = [], [], []
    for start in range(0, len(mate), _PROBES_A_BLOCK):
        block = slice(start, start + _PROBES_A_BLOCK)
        scores = probe_features[block] @ gallery_features.T
        mated = np.flatnonzero(mate[block] >= 0)
        own = scores[mated, mate[block][mated]]
        rank.append((scores[mated] >= own[:, None]).sum(axis=1))
        mate_score.append(own)
        best_stranger.append(np.delete(scores, mated, axis=0).max(axis=1))
    ranks_of_mates, mate_scores = np.concatenate(rank), np.concatenate(mate_score)
    strangers = np.sort(np.concatenate(best_stranger))[::-1]

    tpir = {}
    for rate in false_positive_rates:
        allowed = int(rate * len(strangers) + 1e-9)
        if 1 <= allowed < len(strangers):
            tpir[rate] = float((mate_scores > strangers[allowed]).mean())
    return IdentificationResult(
        mated=len(mate_scores),
        non_mated=len(strangers),
        rank_rate={k: float((ranks_of_mates <= k).mean()) for k in ranks},
        tpir_at_fpir=tpir,
    )


def rank_rates(
    gallery_features: np.ndarray,
    gallery_subjects: np.ndarray,
    probe_features: np.ndarray,
    probe_subjects: np.ndarray,
    ranks: Sequence[int] = (1, 5),
) -> dict[int, float]:
    """Search every probe among images, of which a subject may have several and distractors nobody's.

    A probe is found at rank k when fewer than k images of others score at least as well as the best of its
    own subject. Source: Cheng, Zhu and Gong 2018 (TinyFace), closed-set identification.

    Args:
        gallery_features: (G, D) of length 1.
        gallery_subjects: (G,) whole numbers.
        probe_features: (P, D) of length 1.
        probe_subjects: (P,) whole numbers, each of a subject of the gallery or left out of the rates.
        ranks: k to report.

    Returns:
        k -> fraction of the probes whose subject is in the gallery.

    Raises:
        LafsError: no probe has its subject in the gallery.
    """
    gallery_subjects, probe_subjects = np.asarray(gallery_subjects), np.asarray(probe_subjects)
    mated = np.isin(probe_subjects, gallery_subjects)
    if not mated.any():
        raise LafsError("No probe has its subject in the gallery: are both files of the same protocol?")
    before = []
    for start in range(0, int(mated.sum()), _PROBES_AMONG_IMAGES):
        block = np.flatnonzero(mated)[start : start + _PROBES_AMONG_IMAGES]
        scores = probe_features[block] @ gallery_features.T
        own = probe_subjects[block][:, None] == gallery_subjects[None]
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
        before.append((~own & (scores >= best)).sum(axis=1))
    strangers = np.concatenate(before)
    return {k: float((strangers < k).mean()) for k in ranks}


def _check(
    gallery_features: np.ndarray,
    gallery_subjects: np.ndarray,
    probe_features: np.ndarray,
    probe_subjects: np.ndarray,
) -> None:
    for name, features, subjects in (
        ("gallery", gallery_features, gallery_subjects),
        ("probes", probe_features, probe_subjects),
    ):
        if features.ndim != 2 or len(features) != len(subjects) or not len(features):
            raise LafsError(
                f"The {name} have features {features.shape} for {len(subjects)} subjects; "
                "expected (N, D) and N, N at least 1."
            )
        if not np.isfinite(features).all():
            raise LafsError(f"The {name} have features that are not finite: look at the embeddings.")
    if gallery_features.shape[1] != probe_features.shape[1]:
        raise LafsError(
            f"Gallery and probes have features of {gallery_features.shape[1]} and {probe_features.shape[1]} "
            "values: embed both with one model."
        )
    values, counts = np.unique(gallery_subjects, return_counts=True)
    if (counts > 1).any():
        raise LafsError(
            f"Subject {values[counts > 1][0]} stands {counts.max()} times in the gallery; "
            "pool its images into one template."
        )
    if not np.isin(probe_subjects, values).any():
        raise LafsError("No probe has its subject in the gallery: are both files of the same protocol?")
