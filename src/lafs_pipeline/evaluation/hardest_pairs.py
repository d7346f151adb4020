"""The pairs that a model is most wrong about."""

import numpy as np
import pandas as pd
from torch import nn

from lafs_pipeline.evaluation.benchmarks import BenchmarkData, faces_of_benchmarks
from lafs_pipeline.evaluation.embeddings import Embeddings, embed_faces, model_digest
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.verification import VerificationResult, verify_pairs
from lafs_pipeline.faces.manifest import typed_table
from lafs_pipeline.runtime.launch import LaunchSettings

FALSE_ACCEPT, FALSE_REJECT = "false accept", "false reject"
HARDEST_TYPES = {
    "benchmark": "string",
    "error": "string",
    "key_a": "string",
    "key_b": "string",
    "identity_a": "string",
    "identity_b": "string",
    "fold": "int64",
    "similarity": "float64",
    "threshold": "float64",
    "errors": "int64",
    "pairs": "int64",
}


def rank_errors(
    similarity: np.ndarray, threshold: np.ndarray, is_same: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Wrong answers, those farthest beyond their threshold first.

    Args:
        similarity: (P,) of the pairs; above its threshold a pair is accepted.
        threshold: (P,) of each pair's fold.
        is_same: (P,) true for pairs of one person.
        count: how many of each kind at most.

    Returns:
        Positions of the pairs by kind of error, ties in the order of the pairs.
    """
    beyond = np.where(is_same, threshold - similarity, similarity - threshold)
    wrong = (similarity > threshold) != is_same
    order = np.argsort(-beyond, kind="stable")
    return {
        error: order[wrong[order] & (is_same[order] == same)][:count]
        for error, same in ((FALSE_ACCEPT, False), (FALSE_REJECT, True))
    }


def hardest_pairs(pairs: pd.DataFrame, result: VerificationResult, count: int) -> pd.DataFrame:
    """The worst errors of one benchmark.

    Args:
        pairs: benchmark, key_a, key_b, is_same and fold, in the order that was verified.
        result: of these pairs and folds.
        count: how many of each kind of error at most.

    Returns:
        benchmark, error (`false accept`, `false reject`), key_a, key_b, fold, similarity (cosine), threshold
        (the cosine that belongs to the fold's squared distance), errors (how many of this kind there are) and
        pairs (among how many), the worst first.
    """
    is_same = pairs["is_same"].to_numpy(bool)
    _, fold = np.unique(pairs["fold"].to_numpy(int), return_inverse=True)
    threshold = 1 - result.fold_threshold[fold] / 2
    ranked = rank_errors(result.scores, threshold, is_same, len(pairs))
    parts = []
    for error, positions in ranked.items():
        part = pairs.iloc[positions[:count]][["benchmark", "key_a", "key_b", "fold"]]
        parts.append(
            part.assign(
                error=error,
                similarity=result.scores[positions[:count]],
                threshold=threshold[positions[:count]],
                errors=len(positions),
                pairs=int((is_same == (error == FALSE_REJECT)).sum()),
            )
        )
    return pd.concat(parts, ignore_index=True)


def find_hardest_pairs(
    model: nn.Module,
    data: BenchmarkData,
    options: EvaluateSettings,
    launching: LaunchSettings,
    count: int,
) -> pd.DataFrame:
    """The worst errors of a model on every benchmark of image pairs.

    Embeddings that the evaluation has kept are read again, and made where they are not there.

    Args:
        model: images in [-1, 1] -> embeddings.
        data: the benchmarks.
        options: of the evaluation.
        launching: how many processes embed.
        count: how many of each kind of error at most.

    Returns:
        As :func:`hardest_pairs`, with identity_a and identity_b; no rows without such benchmarks.
    """
    compared = set(data.pairs["benchmark"])
    tables = {name: faces for name, faces in faces_of_benchmarks(data).items() if name in compared}
    found = [typed_table(HARDEST_TYPES, [()] * len(HARDEST_TYPES))]
    if tables:
        identities = data.faces.set_index("key")["identity"]
        for name, own in embed_faces(model, model_digest(model), tables, options, launching).items():
            worst = _of_benchmark(data.pairs[data.pairs["benchmark"] == name], own, count)
            for side in ("a", "b"):
                worst[f"identity_{side}"] = identities.reindex(worst[f"key_{side}"]).to_numpy()
            found.append(worst[list(HARDEST_TYPES)].astype(HARDEST_TYPES))
    return pd.concat(found, ignore_index=True)


def _of_benchmark(pairs: pd.DataFrame, own: Embeddings, count: int) -> pd.DataFrame:
    sides = [own.vectors[own.rows.loc[pairs[side]].to_numpy()] for side in ("key_a", "key_b")]
    result = verify_pairs(*sides, pairs["is_same"].to_numpy(bool), pairs["fold"].to_numpy(int))
    return hardest_pairs(pairs, result, count)
