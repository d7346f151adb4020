"""Templates compared and searched, with intervals by subject."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import normalize

from lafs_pipeline.evaluation.identification import identify
from lafs_pipeline.evaluation.template_verification import search_metrics, verify_templates
from lafs_pipeline.evaluation.templates import Templates, tar_at_far
from lafs_pipeline.runtime.errors import LafsError

GALLERIES = ("G1", "G2")


def made_up_protocol(people: int = 60, noise: float = 0.8):
    """A gallery and four probe templates a person, half of the people in each gallery; all pairs."""
    rng = np.random.default_rng(0)
    owner = np.concatenate([np.arange(people), np.repeat(np.arange(people), 4)])
    ids = 3 * rng.permutation(len(owner)) + 2
    features = normalize(
        rng.standard_normal((people, 16))[owner] + noise * rng.standard_normal((len(owner), 16))
    )
    order = np.argsort(ids)
    templates = Templates(ids[order], features[order].astype(np.float32))
    a, b = (side.ravel() for side in np.meshgrid(ids[:people], ids[people:]))
    subject = dict(zip(ids, 1000 + owner, strict=True))
    pairs = pd.DataFrame({"template_a": a, "template_b": b})
    pairs["is_same"] = pairs["template_a"].map(subject) == pairs["template_b"].map(subject)
    roles = [GALLERIES[person % 2] for person in range(people)] + ["probe"] * (4 * people)
    subjects = pd.DataFrame({"template": ids, "subject": [subject[i] for i in ids], "role": roles})
    return templates, pairs, subjects


def test_rates_are_those_of_the_cosines():
    templates, pairs, subjects = made_up_protocol()
    feature = dict(zip(templates.ids, templates.features, strict=True))
    scores = np.array([feature[a] @ feature[b] for a, b in pairs[["template_a", "template_b"]].to_numpy()])
    result = verify_templates(templates, pairs, subjects, 200, 0)
    expected = tar_at_far(scores, pairs["is_same"].to_numpy(), [1e-4, 1e-3, 1e-2, 1e-1])
    assert result.metrics == {f"tar_at_far_{rate:g}": value for rate, value in expected.items()}
    assert result.drawn == "identity"
    for name, interval in result.intervals.items():
        assert interval.low <= result.metrics[name] <= interval.high
    interval = result.intervals["tar_at_far_0.01"]
    assert 0.01 < interval.high - interval.low < 0.5
    shown = np.interp([1e-3, 1e-2], result.false_accept_rate, result.true_accept_rate)
    assert shown == pytest.approx([expected[1e-3], expected[1e-2]], abs=0.03)


def test_unknown_subjects_leave_the_templates_to_be_drawn():
    templates, pairs, subjects = made_up_protocol()
    by_template = verify_templates(templates, pairs, subjects.iloc[:-1], 100, 0)
    assert by_template.drawn == "template"
    assert by_template.metrics == verify_templates(templates, pairs, subjects, 0, 0).metrics


def test_searches_are_averaged_over_the_galleries():
    templates, _, subjects = made_up_protocol()
    row = {number: place for place, number in enumerate(templates.ids)}
    sides = {
        role: (templates.features[[row[t] for t in part["template"]]], part["subject"].to_numpy())
        for role, part in subjects.groupby("role")
    }
    single = [identify(*sides[gallery], *sides["probe"]) for gallery in GALLERIES]
    assert single[0].rank_rate != single[1].rank_rate
    found = search_metrics(templates, subjects)
    assert found.keys() == {"rank_1", "rank_5", "tpir_at_fpir_0.01", "tpir_at_fpir_0.1"}
    for k in (1, 5):
        assert found[f"rank_{k}"] == pytest.approx(np.mean([search.rank_rate[k] for search in single]))
    for rate in (0.01, 0.1):
        expected = np.mean([search.tpir_at_fpir[rate] for search in single])
        assert found[f"tpir_at_fpir_{rate:g}"] == pytest.approx(expected)


@pytest.mark.parametrize("roles", [["probe"], ["G1", "G2"], []])
def test_without_galleries_or_probes_nobody_is_searched(roles):
    templates, _, subjects = made_up_protocol()
    assert search_metrics(templates, subjects[subjects["role"].isin(roles)]) == {}


def test_too_few_pairs_carry_no_rate():
    templates, pairs, subjects = made_up_protocol()
    few = pd.concat([pairs[pairs["is_same"]][:20], pairs[~pairs["is_same"]][:9]])
    with pytest.raises(
        LafsError, match=r"9 pairs of different people do not carry .* of 0\.1; give at least 10"
    ):
        verify_templates(templates, few, subjects, 10, 0)
