import numpy as np
import pytest
from sklearn.preprocessing import normalize

from lafs_pipeline.evaluation.identification import identify
from lafs_pipeline.runtime.errors import LafsError


def made_up_search(probes: int = 1500, gallery: int = 60, noise: float = 0.6):
    """Subjects 0 .. 2 * gallery, the odd ones enrolled in random order; probes of all."""
    rng = np.random.default_rng(0)
    people = rng.standard_normal((2 * gallery, 16))
    enrolled = rng.permutation(np.arange(1, 2 * gallery, 2))
    subjects = rng.integers(0, 2 * gallery, probes)
    return (
        normalize(people[enrolled] + noise * rng.standard_normal((gallery, 16))),
        enrolled + 1000,
        normalize(people[subjects] + noise * rng.standard_normal((probes, 16))),
        subjects + 1000,
    )


def literal_search(gallery_features, gallery_subjects, probe_features, probe_subjects, rates, ranks):
    place, own, strangers = [], [], []
    for feature, subject in zip(probe_features, probe_subjects, strict=True):
        scores = gallery_features @ feature
        best_first = gallery_subjects[np.argsort(-scores)]
        if subject in gallery_subjects:
            place.append(list(best_first).index(subject) + 1)
            own.append(scores[gallery_subjects == subject][0])
        else:
            strangers.append(scores.max())
    own, strangers = np.array(own), np.array(strangers)
    thresholds = {rate: min(t for t in strangers if (strangers > t).mean() <= rate) for rate in rates}
    return (
        {k: np.mean(np.array(place) <= k) for k in ranks},
        {rate: (own > threshold).mean() for rate, threshold in thresholds.items()},
        len(strangers),
    )


def test_search_equals_one_probe_at_a_time():
    search = made_up_search()
    rates, ranks = (0.01, 0.1), (1, 5, 20)
    result = identify(*search, rates, ranks)
    rank_rate, tpir, strangers = literal_search(*search, rates, ranks)
    assert result.rank_rate == pytest.approx(rank_rate)
    assert result.tpir_at_fpir == pytest.approx(tpir)
    assert (result.mated, result.non_mated) == (1500 - strangers, strangers)
    assert 0.3 < result.tpir_at_fpir[0.01] < result.tpir_at_fpir[0.1] < result.rank_rate[5] < 1


def test_rates_that_too_few_strangers_make_up_are_left_out():
    gallery, enrolled, probes, subjects = made_up_search()
    mated = np.isin(subjects, enrolled)
    assert identify(gallery, enrolled, probes[mated], subjects[mated]).tpir_at_fpir == {}
    few = mated | (np.cumsum(~mated) <= 50)
    assert set(identify(gallery, enrolled, probes[few], subjects[few]).tpir_at_fpir) == {0.1}


def test_a_collapsed_model_finds_nobody():
    _, enrolled, _, subjects = made_up_search()
    same = np.full((1500, 4), 0.5)
    result = identify(same[:60], enrolled, same, subjects, ranks=(1, 59, 60))
    assert result.rank_rate == {1: 0.0, 59: 0.0, 60: 1.0}
    assert result.tpir_at_fpir == {0.01: 0.0, 0.1: 0.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g, gs, p, ps: (g, np.full_like(gs, 7), p, ps), "Subject 7 stands 60 times"),
        (lambda g, gs, p, ps: (g, gs, p, ps + 5000), "No probe has its subject"),
        (lambda g, gs, p, ps: (g, gs, p[:, :8], ps), "16 and 8"),
        (lambda g, gs, p, ps: (g, gs, p, ps[:-1]), "1499 subjects"),
        (lambda g, gs, p, ps: (g[:0], gs[:0], p, ps), "N at least 1"),
        (lambda g, gs, p, ps: (g * np.nan, gs, p, ps), "not finite"),
    ],
)
def test_searches_that_make_no_sense_are_refused(change, words):
    with pytest.raises(LafsError, match=words):
        identify(*change(*made_up_search()))
