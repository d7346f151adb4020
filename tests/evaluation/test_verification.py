import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.runtime.errors import LafsError


def made_up_pairs(pairs: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_same = rng.random(pairs) < 0.5
    is_same[:2] = True, False
    a = rng.standard_normal((pairs, 8))
    b = np.where(is_same[:, None], a, rng.standard_normal(a.shape)) + noise * rng.standard_normal(a.shape)
    return a, b, is_same


def literal_folds(
    a: np.ndarray, b: np.ndarray, is_same: np.ndarray, folds: int
) -> tuple[list[float], list[float]]:
    """The protocol as it reads: every threshold tried on every pair."""
    unit_a, unit_b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    distance = np.sum(np.square(unit_a - unit_b), axis=1)
    thresholds = np.arange(0, 4, 0.01)
    accuracy, chosen = [], []
    for train, test in KFold(folds, shuffle=False).split(distance):
        right = [np.mean((distance[train] < threshold) == is_same[train]) for threshold in thresholds]
        best = thresholds[int(np.argmax(right))]
        accuracy.append(np.mean((distance[test] < best) == is_same[test]))
        chosen.append(best)
    return accuracy, chosen


def test_folds_of_the_reference_are_met_exactly(parity_dir):
    data = np.load(parity_dir / "verification.npz")
    result = verify_pairs(data["embeddings"][::2], data["embeddings"][1::2], data["is_same"])
    np.testing.assert_array_equal(result.fold_accuracy, data["fold_accuracy"])
    np.testing.assert_array_equal(result.fold_threshold, data["fold_threshold"])


def test_lfw_accuracy_of_a_known_model_is_met(parity_dir):
    data = np.load(parity_dir / "lfw_mobilefacenet.npz")
    embeddings = data["embeddings"]
    result = verify_pairs(embeddings[data["pair_a"]], embeddings[data["pair_b"]], data["is_same"])
    assert result.accuracy == pytest.approx(0.99333, abs=5e-6)
    assert result.std == pytest.approx(0.0050, abs=5e-5)
    assert set(result.tar_at_far) == {1e-3, 1e-2, 1e-1}


@pytest.mark.parametrize("offset", [0, 30, 3000])
def test_embeddings_that_have_nearly_become_one_are_told_apart_as_their_error_rate_says(offset):
    a, b, is_same = made_up_pairs(2000, noise=0.7)
    result = verify_pairs(a + offset, b + offset, is_same)
    assert result.eer < 0.3
    assert result.accuracy == pytest.approx(1 - result.eer, abs=0.02)


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.integers(23, 60),
    folds=st.integers(2, 11),
    seed=st.integers(0, 999),
    steps=st.sampled_from([2, 1000]),
)
def test_folds_equal_the_literal_protocol(pairs, folds, seed, steps):
    a, b, is_same = made_up_pairs(pairs, seed)
    a, b = (np.round(x * steps) + 0.25 for x in (a, b))
    accuracy, thresholds = literal_folds(a, b, is_same, folds)
    result = verify_pairs(a, b, is_same, folds)
    np.testing.assert_allclose(result.fold_accuracy, accuracy, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(result.fold_threshold, thresholds)


def test_a_distance_equal_to_the_threshold_is_refused():
    a = np.tile([1.0, 0.0], (4, 1))
    b = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    result = verify_pairs(a, b, [True, False, True, False], folds=2)
    np.testing.assert_array_equal(result.fold_threshold, [0.01, 0.01])
    np.testing.assert_array_equal(result.fold_accuracy, [1.0, 1.0])


def test_folds_may_be_named_pair_by_pair_in_any_order():
    a, b, is_same = made_up_pairs(60)
    order = np.random.default_rng(1).permutation(60)
    contiguous = verify_pairs(a, b, is_same, folds=6)
    named = verify_pairs(a[order], b[order], is_same[order], folds=(np.arange(60) // 10 * 7 + 3)[order])
    np.testing.assert_array_equal(named.fold_accuracy, contiguous.fold_accuracy)
    np.testing.assert_array_equal(named.fold_threshold, contiguous.fold_threshold)


def test_roc_auc_and_scores_are_those_of_the_cosine():
    a, b, is_same = made_up_pairs(400, noise=2.0)
    result = verify_pairs(a, 3.0 * b, is_same)
    cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(result.scores, cosine, atol=1e-12)
    assert result.auc == pytest.approx(roc_auc_score(is_same, cosine))
    at_eer = np.interp(result.eer, result.false_accept_rate, result.true_accept_rate)
    assert at_eer == pytest.approx(1 - result.eer)


@pytest.mark.parametrize(("flip", "eer", "auc"), [(False, 0.0, 1.0), (True, 1.0, 0.0)])
def test_separable_pairs_have_the_extreme_rates(flip, eer, auc):
    a, b, is_same = made_up_pairs(40, noise=0.0)
    result = verify_pairs(a, b, is_same ^ flip)
    assert result.eer == pytest.approx(eer)
    assert result.auc == pytest.approx(auc)


def test_tar_is_given_only_at_rates_the_pairs_can_show():
    a, b, is_same = made_up_pairs(60)
    assert set(verify_pairs(a, b, is_same).tar_at_far) == {1e-1}
    few = slice(0, 12)
    assert verify_pairs(a[few], b[few], is_same[few], folds=2).tar_at_far == {}


def spoil(value):
    def change(a, b, is_same):
        a[3] = value
        return a, b, is_same, 10

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil(0.0), "pair 3"),
        (spoil(np.nan), "pair 3"),
        (lambda a, b, s: (a, b, np.ones(len(s), bool), 10), "different people"),
        (lambda a, b, s: (a, b, np.zeros(len(s), bool), 10), "different people"),
        (lambda a, b, s: (a[:5], b[:5], s[:5], 10), "5 pairs cannot be cut into 10 folds"),
        (lambda a, b, s: (a, b, s, 1), "at least 2"),
        (lambda a, b, s: (a, b, s, 0), "at least 2"),
        (lambda a, b, s: (a, b, s, np.arange(7)), "folds of 7 pairs"),
        (lambda a, b, s: (a, b[:-1], s, 10), "second embeddings"),
        (lambda a, b, s: (a, b[:, :-1], s, 10), "one shape"),
    ],
)
def test_unusable_pairs_are_refused_with_the_reason(change, words):
    with pytest.raises(LafsError, match=words):
        verify_pairs(*change(*made_up_pairs(40)))
