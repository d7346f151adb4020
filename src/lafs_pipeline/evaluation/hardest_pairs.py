"""The pairs that a model is most wrong about."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lafs_pipeline.evaluation.embeddings import Embeddings
from lafs_pipeline.evaluation.evaluate import BenchmarkData, pool_benchmark
from lafs_pipeline.evaluation.results import OPERATING_RATE
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.templates import Templates, score_pairs
from lafs_pipeline.evaluation.verification import VerificationResult, carried_rates, verify_pairs
from lafs_pipeline.faces.manifest import typed_table

FALSE_ACCEPT, FALSE_REJECT = "false accept", "false reject"
HARDEST_TYPES = {
    "benchmark": "string",
    "error": "string",
    "key_a": "string",
    "key_b": "string",
    "identity_a": "string",
    "identity_b": "string",
    "images_a": "int64",
    "images_b": "int64",
    "fold": "Int64",
    "similarity": "float64",
    "threshold": "float64",
    "errors": "int64",
    "pairs": "int64",
}


def rank_errors(
    similarity: np.ndarray, threshold: np.ndarray | float, is_same: np.ndarray
) -> dict[str, np.ndarray]:
    """Wrong answers, those farthest beyond their threshold first.

    Args:
        similarity: (P,) of the pairs; above its threshold a pair is accepted.
        threshold: of each pair's fold (P,), or of all.
        is_same: (P,) true for pairs of one person.

    Returns:
        Positions of the pairs by kind of error, ties in the order of the pairs.
    """
    wrong = np.flatnonzero((similarity > threshold) != is_same)
    order = wrong[np.argsort(-np.abs(similarity - threshold)[wrong], kind="stable")]
    return {FALSE_ACCEPT: order[~is_same[order]], FALSE_REJECT: order[is_same[order]]}


def threshold_at_far(similarity: np.ndarray, is_same: np.ndarray, rate: float) -> float:
    """The lowest similarity above which at most a share `rate` of the pairs of different people lies.

    Args:
        similarity: (P,) of the pairs.
        is_same: (P,) true for pairs of one person.
        rate: false accept rate, below 1.
    """
    different = similarity[~is_same]
    accepted = int(rate * len(different) * (1 + 1e-9))
    return float(np.partition(different, len(different) - 1 - accepted)[len(different) - 1 - accepted])


def hardest_pairs(pairs: pd.DataFrame, result: VerificationResult, count: int) -> pd.DataFrame:
    """The worst errors of one benchmark of image pairs.

    Args:
        pairs: benchmark, key_a, key_b, is_same and fold, in the order that was verified.
        result: of these pairs and folds.
        count: how many of each kind of error at most.

    Returns:
        Columns of `HARDEST_TYPES` but the identities: error is `false accept` or `false reject`, similarity
        and threshold are cosines, images is how many a side has, errors says how many of this kind there
        are and pairs among how many. The worst first.
    """
    _, fold = np.unique(pairs["fold"].to_numpy(int), return_inverse=True)
    threshold = 1 - result.fold_threshold[fold] / 2
    worst = _worst(result.scores, threshold, pairs["is_same"].to_numpy(bool), count)
    compared = pairs[["benchmark", "key_a", "key_b", "fold"]].iloc[worst.index]
    return compared.reset_index(drop=True).join(worst.reset_index(drop=True)).assign(images_a=1, images_b=1)


def hardest_templates(
    pairs: pd.DataFrame, images: pd.DataFrame, vectors: np.ndarray, templates: Templates, count: int
) -> pd.DataFrame:
    """The worst errors of one benchmark of templates, at the threshold of its quoted false accept rate.

    Args:
        pairs: benchmark, template_a, template_b and is_same.
        images: key, template and row in `vectors`.
        vectors: (n, D) embeddings of the images.
        templates: of these images.
        count: how many of each kind of error at most.

    Returns:
        As :func:`hardest_pairs`; no fold. A template is shown by the image that is most like it.

    Raises:
        LafsError: a template has no images.
    """
    is_same = pairs["is_same"].to_numpy(bool)
    scores = score_pairs(templates, pairs["template_a"].to_numpy(), pairs["template_b"].to_numpy())
    rates = carried_rates(is_same)
    threshold = threshold_at_far(scores, is_same, OPERATING_RATE if OPERATING_RATE in rates else min(rates))
    worst = _worst(scores, threshold, is_same, count)
    compared = pairs.iloc[worst.index].reset_index(drop=True)
    found = compared[["benchmark"]].join(worst.reset_index(drop=True)).assign(fold=pd.NA)
    for side in ("a", "b"):
        shown = [_shown(template, images, vectors, templates) for template in compared[f"template_{side}"]]
        found[f"key_{side}"] = [key for key, _ in shown]
        found[f"images_{side}"] = [number for _, number in shown]
    return found


def find_hardest_pairs(
    found: Mapping[str, Embeddings], data: BenchmarkData, options: EvaluateSettings, count: int
) -> pd.DataFrame:
    """The worst errors of a model on every benchmark.

    Args:
        found: its embeddings by benchmark.
        data: tables of the benchmarks.
        options: of the evaluation.
        count: how many of each kind of error at most.

    Returns:
        As :func:`hardest_pairs` and :func:`hardest_templates`, with the identities of the shown faces.
    """
    identities = data.faces.set_index("key")["identity"]
    parts = [typed_table(HARDEST_TYPES, [()] * len(HARDEST_TYPES))]
    for name, own in found.items():
        worst = _of_benchmark(data, name, own, options, count)
        for side in ("a", "b"):
            worst[f"identity_{side}"] = identities.reindex(worst[f"key_{side}"]).to_numpy()
        parts.append(worst[list(HARDEST_TYPES)].astype(HARDEST_TYPES))
    return pd.concat(parts, ignore_index=True)


def _of_benchmark(
    data: BenchmarkData, name: str, own: Embeddings, options: EvaluateSettings, count: int
) -> pd.DataFrame:
    pairs = data.pairs[data.pairs["benchmark"] == name]
    if pairs.empty:
        images, templates = pool_benchmark(data, name, own, options)
        compared = data.template_pairs[data.template_pairs["benchmark"] == name]
        if compared.empty:
            return typed_table(HARDEST_TYPES, [()] * len(HARDEST_TYPES))
        return hardest_templates(compared, images, own.vectors, templates, count)
    sides = [own.vectors[own.rows.loc[pairs[side]].to_numpy()] for side in ("key_a", "key_b")]
    result = verify_pairs(*sides, pairs["is_same"].to_numpy(bool), pairs["fold"].to_numpy(int))
    return hardest_pairs(pairs, result, count)


def _worst(
    similarity: np.ndarray, threshold: np.ndarray | float, is_same: np.ndarray, count: int
) -> pd.DataFrame:
    """Error, similarity, threshold, errors and pairs, by the pair's position."""
    parts = [
        pd.DataFrame(
            {
                "error": error,
                "similarity": similarity[positions[:count]],
                "threshold": np.broadcast_to(threshold, similarity.shape)[positions[:count]],
                "errors": len(positions),
                "pairs": int((is_same == (error == FALSE_REJECT)).sum()),
            },
            index=positions[:count],
        )
        for error, positions in rank_errors(similarity, threshold, is_same).items()
    ]
    return pd.concat(parts)


def _shown(template: int, images: pd.DataFrame, vectors: np.ndarray, templates: Templates) -> tuple[str, int]:
    """Key of the image that is most like its template, and how many images that has."""
    own = images[images["template"] == template]
    features = np.asarray(vectors[own["row"]], np.float32)
    likeness = features @ templates.features[np.searchsorted(templates.ids, template)]
    return own["key"].iloc[int(np.argmax(likeness / np.linalg.norm(features, axis=1)))], len(own)
