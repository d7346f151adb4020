"""Intervals against the same list written out pair by pair, against SciPy, and against their promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from lafs_pipeline.evaluation.resampling import PairUnits, SortedPairs, pair_units, percentile_intervals
from lafs_pipeline.evaluation.templates import tar_at_far
from lafs_pipeline.evaluation.verification import Resampling, verify_pairs


def made_up_pairs(pairs: int, people: int, seed: int, noise: float = 1.0):
    """Embeddings of pairs, and their people; every person has an own offset from the pair's noise."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, people, pairs)
    second = np.where(rng.random(pairs) < 0.5, first, rng.integers(0, people, pairs))
    centers = rng.standard_normal((people, 8))
    a, b = (centers[side] + noise * rng.standard_normal((pairs, 8)) for side in (first, second))
    return a, b, first == second, first, second


def test_people_serve_where_they_agree_with_the_pairs():
    is_same, first, second = np.array([True, False, False]), np.array([0, 0, 1]), np.array([0, 1, 2])
    units = pair_units(is_same, first, second, 3)
    assert (units.kind, units.count) == ("identity", 3)
    np.testing.assert_array_equal(units.weights(np.array([2.0, 3, 5, 1])), [2, 6, 15])
    assert pair_units(is_same, first, np.array([0, 1, -1]), 3).kind == "pair"
    assert pair_units(~is_same, first, second, 3).kind == "pair"
    by_pair = pair_units(is_same, np.array([0, 0, -1]), second, 3)
    np.testing.assert_array_equal(by_pair.weights(np.array([2.0, 3, 5, 1])), [2, 3, 5])
    assert pair_units(~is_same, first, second, 3, "template").kind == "template"


def test_draws_are_with_replacement_and_the_same_for_a_seed():
    units = PairUnits(np.zeros(1, np.int32), np.zeros(1, np.int32), 50, "identity")
    draws = list(units.draws(400, 7))
    assert all(drawn[:-1].sum() == 50 and drawn[-1] == 1 for drawn in draws)
    assert np.mean([drawn[0] == 0 for drawn in draws]) == pytest.approx((1 - 1 / 50) ** 50, abs=0.08)
    np.testing.assert_array_equal(draws, list(units.draws(400, 7)))
    assert not np.array_equal(draws, list(units.draws(400, 8)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), pairs=st.integers(4, 120), distinct=st.sampled_from([3, 20, 10**9]))
def test_a_resample_is_the_list_with_its_pairs_repeated(seed, pairs, distinct):
    rng = np.random.default_rng(seed)
    *_, is_same, first, second = made_up_pairs(pairs, 12, seed)
    scores = rng.integers(0, distinct, pairs) + np.round(0.3 * distinct) * is_same
    units = pair_units(is_same, first, second, 12)
    ordered = SortedPairs(scores, is_same, units)
    rates = [0.01, 0.1, 0.3]
    for drawn in units.draws(5, seed):
        repeated = np.repeat(np.arange(pairs), units.weights(drawn).astype(int))
        labels = is_same[repeated]
        if labels.all() or not labels.any():
            continue
        accepted = ordered.accepted(drawn)
        assert accepted.tar_at_far(rates) == list(tar_at_far(scores[repeated], labels, rates).values())
        far, tar = accepted.curve()
        assert np.trapezoid(tar, far) == pytest.approx(roc_auc_score(labels, scores[repeated]))


@pytest.mark.parametrize("kind", ["identity", "template", "pair"])
def test_pairs_far_beyond_the_rates_need_not_be_kept(kind):
    *_, is_same, first, second = made_up_pairs(60_000, 500, 0)
    scores = np.random.default_rng(1).standard_normal(60_000) + 2 * is_same
    units = pair_units(is_same, first if kind != "pair" else first - 1, second, 500)
    assert units.kind == ("pair" if kind == "pair" else "identity")
    whole, pruned = (SortedPairs(scores, is_same, units, reach) for reach in (1.0, 0.01))
    assert len(pruned.accepted().false) < len(whole.accepted().false)
    for drawn in units.draws(5, 0):
        rates = [1e-3, 1e-2]
        assert pruned.accepted(drawn).tar_at_far(rates) == whole.accepted(drawn).tar_at_far(rates)


def test_intervals_of_pairs_are_scipys():
    a, b, is_same, first, second = made_up_pairs(800, 800, 3)
    units = pair_units(is_same, first - 900, second, 800)
    result = verify_pairs(a, b, is_same, 10, Resampling(units, 2000, 0))
    scores = result.scores

    def auc(rows):
        return roc_auc_score(is_same[rows], scores[rows])

    oracle = stats.bootstrap(
        (np.arange(800),), auc, n_resamples=1000, vectorized=False, method="percentile", rng=0
    ).confidence_interval
    interval = result.intervals["auc"]
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=0.003)


def test_every_figure_but_the_spread_has_an_interval_about_it():
    a, b, is_same, first, second = made_up_pairs(1000, 200, 0)
    result = verify_pairs(a, b, is_same, 10, Resampling(pair_units(is_same, first, second, 200), 300, 0))
    assert set(result.metrics()) - set(result.intervals) == {"fold_std"}
    assert {"accuracy", "auc", "eer", "tar_at_far_0.1", "tar_at_far_0.01"} == set(result.intervals)
    for name, interval in result.intervals.items():
        assert interval.low < result.metrics()[name] < interval.high


def test_people_with_many_pairs_widen_the_interval():
    """Pairs of twenty people repeat themselves; drawing pairs does not see that."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 100)
    hard = rng.random(20) < 0.5
    is_same = np.tile([True, False], 1000)
    a = rng.standard_normal((2000, 16))
    b = np.where(is_same[:, None], a, rng.standard_normal(a.shape)) + np.where(hard[people], 2.5, 0.1)[
        :, None
    ] * rng.standard_normal(a.shape)
    units = PairUnits(people.astype(np.int32), np.full(2000, 20, np.int32), 20, "identity")
    folds = np.arange(2000) // 2 % 10
    widths = {}
    for name, chosen in (("people", units), ("pairs", pair_units(is_same, people - 99, people, 20))):
        interval = verify_pairs(a, b, is_same, folds, Resampling(chosen, 400, 0)).intervals["accuracy"]
        widths[name] = interval.high - interval.low
    assert widths["people"] > 2 * widths["pairs"]


def test_intervals_keep_their_promise():
    """Of 60 samples of people, 95 % of the intervals hold what the population gives."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 1, 5000)
    truth = stats.norm.sf(0, loc=difficulty).mean()
    held = 0
    for sample in range(60):
        people = rng.choice(5000, 60)
        errors = rng.random((60, 8)) < stats.norm.sf(0, loc=difficulty[people])[:, None]
        values = errors.ravel()
        units = PairUnits(
            np.repeat(np.arange(60), 8).astype(np.int32), np.full(480, 60, np.int32), 60, "identity"
        )

        def mean(drawn, units=units, values=values):
            weights = units.weights(drawn)
            return {"error": float(weights @ values / weights.sum())}

        interval = percentile_intervals(mean, units, 400, sample)["error"]
        held += interval.low <= truth <= interval.high
    assert held >= stats.binom.ppf(0.001, 60, 0.93)


def test_no_resamples_give_no_intervals():
    units = PairUnits(np.zeros(1, np.int32), np.zeros(1, np.int32), 1, "pair")
    assert percentile_intervals(lambda drawn: {"x": 1.0}, units, 0, 0) == {}


def test_resamples_without_one_kind_of_pairs_are_passed_over():
    is_same = np.array([True, True, False, False])
    first, second = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])
    a = np.random.default_rng(0).standard_normal((4, 8))
    result = verify_pairs(a, a, is_same, 2, Resampling(pair_units(is_same, first, second, 2), 100, 0))
    assert np.isfinite([result.intervals["auc"].low, result.intervals["accuracy"].high]).all()
