"""Who is this: the faces of a gallery that are nearest to a probe, by brute force in memory."""

from collections.abc import Sequence

import numpy as np
from sklearn.neighbors import NearestNeighbors

from lafs_pipeline.evaluation.hardest_pairs import threshold_at_far
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator

MOST_PAIRS = 1_000_000
"""Pairs of different people that a threshold is found on."""
NEARLY_UNIT = 1e-5


class FaceIndex:
    """Embeddings of a gallery, searched exactly: scikit-learn's brute force, which needs no second copy.

    Args:
        vectors: (N, D) of any length; float32 of length 1 are taken as they are.

    Raises:
        LafsError: there are none, or one is zero or not finite.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = unit_rows(vectors)
        self._neighbors = NearestNeighbors(algorithm="brute", metric="euclidean").fit(self.vectors)

    def search(self, probes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest faces of every probe, nearest first.

        Args:
            probes: (P, D) of any length.
            count: k, at most as many as there are faces.

        Returns:
            Rows (P, k) in the gallery and their cosine similarities (P, k) float32.

        Raises:
            LafsError: a probe is zero or not finite, or of another width.
        """
        probes = unit_rows(probes)
        if probes.shape[1] != self.vectors.shape[1]:
            raise LafsError(
                f"probes have {probes.shape[1]} numbers each, the gallery {self.vectors.shape[1]}: embed "
                "both with one model"
            )
        rows = self._neighbors.kneighbors(probes, min(count, len(self.vectors)), return_distance=False)
        return rows, np.einsum("pd,pkd->pk", probes, self.vectors[rows])

    def threshold(self, people: Sequence[str], rate: float) -> float:
        """The lowest similarity above which at most a share `rate` of the gallery's strangers lies.

        Args:
            people: (N,) who every face is.
            rate: false accept rate of one comparison; a search makes N.

        Raises:
            LafsError: there are too few pairs of different people for that rate.
        """
        names, person = np.unique(np.asarray(people), return_inverse=True)
        first, second = _pairs(len(person))
        strangers = person[first] != person[second]
        first, second = first[strangers], second[strangers]
        if rate * len(first) < 1:
            raise LafsError(
                f"{len(first)} pairs of different people in the gallery ({len(names)} people) do not carry a "
                f"false accept rate of {rate:g}: give at least {1 / max(len(first), 1):.2g}, or the threshold"
            )
        blocks = np.array_split(np.arange(len(first)), -(-len(first) // 65_536))
        scores = [
            np.einsum("pd,pd->p", *(self.vectors[side[block]] for side in (first, second)))
            for block in blocks
        ]
        similarity = np.concatenate(scores)
        return threshold_at_far(similarity, np.zeros(len(similarity), bool), rate)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32 of length 1; what is so already is not copied.

    Raises:
        LafsError: there are none, or one is zero or not finite.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise LafsError(f"embeddings have the shape {vectors.shape}; expected (N, D), N at least 1")
    vectors = np.ascontiguousarray(vectors, np.float32)
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    bad = ~np.isfinite(length) | (length == 0)
    if bad.any():
        raise LafsError(
            f"{bad.sum()} of {len(bad)} embeddings are zero or not finite, first row {bad.argmax()}"
        )
    return vectors if np.abs(length - 1).max() < NEARLY_UNIT else vectors / length[:, None]


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of `count` rows, or `MOST_PAIRS` drawn ones where there are more."""
    if count * (count - 1) // 2 <= MOST_PAIRS:
        return np.triu_indices(count, 1)
    drawn = random_generator(0, "search", count).integers(0, count, (2, MOST_PAIRS))
    return drawn[0], drawn[1]
