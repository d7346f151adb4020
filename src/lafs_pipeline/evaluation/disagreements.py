"""Pairs of images that two models decide differently."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.embeddings import Embeddings
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.manifest import typed_table

DISAGREEMENT_TYPES = {
    "benchmark": "string",
    "reference": "string",
    "model": "string",
    "right": "string",
    "key_a": "string",
    "key_b": "string",
    "is_same": "bool",
    "margin_reference": "float64",
    "margin": "float64",
    "pairs": "int64",
}


def margins(pairs: pd.DataFrame, own: Embeddings) -> np.ndarray:
    """(P,) cosine similarity less the threshold of the pair's fold: above 0 a pair is accepted.

    Args:
        pairs: key_a, key_b, is_same and fold of one benchmark.
        own: of its faces.
    """
    sides = [own.vectors[own.rows.loc[pairs[side]].to_numpy()] for side in ("key_a", "key_b")]
    folds = pairs["fold"].to_numpy(int)
    result = verify_pairs(*sides, pairs["is_same"].to_numpy(bool), folds)
    _, fold = np.unique(folds, return_inverse=True)
    return result.scores - (1 - result.fold_threshold[fold] / 2)


def find_disagreements(
    pairs: pd.DataFrame, found: Mapping[str, Mapping[str, Embeddings]], reference: str, count: int
) -> pd.DataFrame:
    """The pairs of images that a model and the reference decide differently, those farthest apart first.

    Args:
        pairs: benchmark, key_a, key_b, is_same and fold, of all benchmarks of images.
        found: embeddings by model and benchmark.
        reference: one of the models.
        count: how many at most that the reference is right about, and as many that the other is.

    Returns:
        Columns of `DISAGREEMENT_TYPES`: right is the model that is, margins are those of :func:`margins`,
        pairs is how many there are of this kind.
    """
    parts = [typed_table(DISAGREEMENT_TYPES, [()] * len(DISAGREEMENT_TYPES))]
    for benchmark, own in pairs.groupby("benchmark", sort=False):
        known = {
            model: margins(own, of[str(benchmark)]) for model, of in found.items() if str(benchmark) in of
        }
        if reference in known:
            theirs = known.pop(reference)
            for model, margin in known.items():
                parts += _of_two(own, (reference, theirs), (model, margin), count)
    return pd.concat(parts, ignore_index=True).astype(DISAGREEMENT_TYPES)


def _of_two(
    pairs: pd.DataFrame, first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], count: int
) -> Iterator[pd.DataFrame]:
    (reference, theirs), (model, own) = first, second
    differ = (theirs > 0) != (own > 0)
    right_reference = (theirs > 0) == pairs["is_same"].to_numpy(bool)
    for right, is_right in ((reference, right_reference), (model, ~right_reference)):
        places = np.flatnonzero(differ & is_right)
        order = places[np.argsort(-np.abs(theirs - own)[places], kind="stable")][:count]
        shown = pairs.iloc[order][["benchmark", "key_a", "key_b", "is_same"]]
        yield shown.assign(
            reference=reference,
            model=model,
            right=right,
            margin_reference=theirs[order],
            margin=own[order],
            pairs=len(places),
        )
