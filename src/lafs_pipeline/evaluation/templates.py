"""Template protocol of IJB-B and IJB-C: many images of a person, one score a pair, TAR at FAR.

Source: Maze et al. 2018 (IJB-C), in the form of InsightFace's evaluation, which published numbers come from.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import roc_curve

from lafs_pipeline.runtime.errors import LafsError

FALSE_ACCEPT_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

_IMAGES_A_BLOCK = 16_384
_SCORES_A_BLOCK = 2**24


class Templates(NamedTuple):
    """Templates in the order of their ids."""

    ids: np.ndarray
    """(T,) ascending template ids."""
    features: np.ndarray
    """(T, D) float32, of length 1."""


def pool_templates(
    image_features: np.ndarray,
    template_ids: np.ndarray,
    media_ids: np.ndarray,
    detector_scores: np.ndarray | None = None,
    normalize_images: bool = False,
) -> Templates:
    """Pool image features into templates: mean per media, sum over the media of a template, length 1.

    Features are read in blocks, so that a float16 or memory-mapped array is never copied whole.

    Args:
        image_features: (N, D) floats; the sum of an image's and its mirror image's embeddings.
        template_ids: (N,) whole numbers.
        media_ids: (N,) whole numbers; frames of one video share one.
        detector_scores: (N,) multiplied into the features (InsightFace's flag D1), or None (D0).
        normalize_images: bring every image to length 1 first (InsightFace's N0); otherwise the length
            weights the image (N1).

    Raises:
        LafsError: lengths that differ, no images, or a template whose sum is zero or not finite.
    """
    image_features = np.asanyarray(image_features)
    template_ids, media_ids = np.asarray(template_ids), np.asarray(media_ids)
    scores = np.ones(len(template_ids)) if detector_scores is None else np.asarray(detector_scores)
    lengths = [len(image_features), len(template_ids), len(media_ids), len(scores)]
    if image_features.ndim != 2 or len(set(lengths)) > 1 or not lengths[0]:
        raise LafsError(
            f"Template pooling got features {image_features.shape}, {lengths[1]} template ids, {lengths[2]} "
            f"media ids and {lengths[3]} detector scores; it expects features (N, D) and N of each other, "
            "N at least 1."
        )
    ids, template_index = np.unique(template_ids, return_inverse=True)
    weights = scores / _images_of_same_media(template_index, media_ids)

    dtype = np.result_type(image_features.dtype, np.float32)
    pooled = np.zeros((len(ids), image_features.shape[1]), dtype)
    for start in range(0, len(image_features), _IMAGES_A_BLOCK):
        block = slice(start, start + _IMAGES_A_BLOCK)
        features = np.asarray(image_features[block], dtype)
        weight = weights[block].astype(dtype)
        if normalize_images:
            weight = weight / np.maximum(np.linalg.norm(features, axis=1), np.finfo(dtype).tiny)
        present, row = np.unique(template_index[block], return_inverse=True)
        columns = np.arange(len(features))
        pooled[present] += (
            sparse.csr_array((weight, (row, columns)), (len(present), len(features))) @ features
        )
    return Templates(ids, _unit_length(pooled, ids))


def score_pairs(templates: Templates, template_a: np.ndarray, template_b: np.ndarray) -> np.ndarray:
    """Cosine similarity of each pair of templates: (P,) float32.

    Pairs are gathered by blocks of templates and read from one matrix product a block.

    Args:
        templates: from `pool_templates`.
        template_a: (P,) template ids.
        template_b: (P,) template ids.

    Raises:
        LafsError: lists of different lengths, or an id without a template.
    """
    if len(template_a) != len(template_b):
        raise LafsError(f"A pair list names {len(template_a)} first and {len(template_b)} second templates.")
    index_a, index_b = _positions(templates, template_a), _positions(templates, template_b)
    row, column = np.minimum(index_a, index_b), np.maximum(index_a, index_b)
    del index_a, index_b

    rows_a_block = max(1, _SCORES_A_BLOCK // len(templates.ids))
    blocks = -(-len(templates.ids) // rows_a_block)
    block_of_pair = (row // rows_a_block).astype(np.min_scalar_type(blocks))
    order = np.argsort(block_of_pair, kind="stable")
    ends = np.cumsum(np.bincount(block_of_pair, minlength=blocks))

    scores = np.empty(len(row), np.float32)
    for block, pairs in enumerate(np.split(order, ends[:-1])):
        first = block * rows_a_block
        columns = column[pairs]
        present = np.zeros(len(templates.ids), bool)
        present[columns] = True
        grid = templates.features[first : first + rows_a_block] @ templates.features[present].T
        scores[pairs] = grid[row[pairs] - first, np.cumsum(present)[columns] - 1]
    return scores


def tar_at_far(
    scores: np.ndarray, is_same: np.ndarray, false_accept_rates: Sequence[float] = FALSE_ACCEPT_RATES
) -> dict[float, float]:
    """True accept rate at the attained false accept rate nearest to each given one, ties to the largest.

    Attained are the points that scikit-learn's `roc_curve` keeps, as in InsightFace's evaluation.

    Args:
        scores: (P,) higher is more alike.
        is_same: (P,) true for pairs of one person.
        false_accept_rates: fractions, the keys of the result.

    Raises:
        LafsError: lengths that differ, scores that are not finite, or pairs of one kind only.
    """
    scores, is_same = np.asarray(scores), np.asarray(is_same).astype(bool)
    if scores.shape != is_same.shape or not np.isfinite(scores).all():
        raise LafsError(
            f"TAR at FAR got {scores.shape} scores for {is_same.shape} labels, or scores not finite."
        )
    if is_same.all() or not is_same.any():
        raise LafsError(
            "TAR at FAR needs pairs of the same person and pairs of different people; one is missing."
        )
    # A false accept rate above twice the largest wanted is farther from it than 0 is: pairs of different
    # people that score lower cannot matter, and most do.
    different = scores[~is_same]
    last = len(different) - int(2 * max(false_accept_rates, default=0) * len(different)) - 2
    kept = is_same | (scores >= np.partition(different, max(last, 0))[max(last, 0)])
    fpr, tpr, _ = roc_curve(is_same[kept], scores[kept])
    fpr = np.rint(fpr * (kept.sum() - is_same.sum())) / len(different)
    return {
        rate: float(tpr[len(fpr) - 1 - np.argmin(np.abs(fpr - rate)[::-1])]) for rate in false_accept_rates
    }


def _images_of_same_media(template_index: np.ndarray, media_ids: np.ndarray) -> np.ndarray:
    media, media_index = np.unique(media_ids, return_inverse=True)
    _, group, size = np.unique(
        template_index * len(media) + media_index, return_inverse=True, return_counts=True
    )
    return size[group]


def _unit_length(pooled: np.ndarray, ids: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(pooled, axis=1, keepdims=True)
    bad = ~np.isfinite(length[:, 0]) | (length[:, 0] == 0)
    if bad.any():
        raise LafsError(
            f"{bad.sum()} templates, the first of them {ids[bad][0]}, pool to a zero or not finite feature: "
            "look at the embeddings and detector scores of their images."
        )
    return (pooled / length).astype(np.float32)


def _positions(templates: Templates, wanted: np.ndarray) -> np.ndarray:
    positions = pd.Index(templates.ids).get_indexer(np.asarray(wanted))
    missing = positions < 0
    if missing.any():
        raise LafsError(
            f"The pair list names {missing.sum()} templates without images, the first of them "
            f"{np.asarray(wanted)[missing][0]}: pool all images of the protocol first."
        )
    return positions.astype(np.int32)
