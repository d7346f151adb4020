"""The sentences that say whether pretraining helped."""

import re

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.few_shot_results import made_up

from lafs_pipeline.evaluation.resampling import Interval, pair_units
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts
from lafs_pipeline.evaluation.verification import Resampling, verify_pairs
from lafs_pipeline.reporting.verdict import answer_by_chance, study_verdict, verdict

FACTS = Facts(90, 3, None, 0, 0, None, True, False, False, "arcface-112", "m" * 64, "f" * 32)
SHOTS = pd.DataFrame({"identity": ["a", "a", "b", "b"]})


def result(accuracy, draws=(), group=None, drawn="identity", metric="accuracy"):
    intervals = {metric: Interval(0.0, 1.0, tuple(draws))} if len(draws) else {}
    return BenchmarkResult(
        "lfw", group, {metric: accuracy}, intervals, drawn, len(draws), FACTS, *[np.zeros(0)] * 3
    )


def draws(mean, noise=0.0):
    return mean + noise * np.linspace(-1, 1, 401)


def test_a_difference_that_can_be_told():
    results = {
        "lafs": [result(0.661, draws(0.661)), result(0.9, group="women")],
        "scratch": [result(0.59, draws(0.59, 0.02))],
    }
    (line,) = verdict(results, SHOTS, {"lfw": 0.5}, {"lafs": 1900})
    assert line == (
        "LAFS 66.1 % against scratch 59.0 % on lfw, 2 images per identity, 1,900 pretraining steps: "
        "+7.1 points [+5.2, +9.0] (95 % interval over people); chance is 50 %."
    )


@pytest.mark.parametrize(
    ("noise", "accuracy", "says"),
    [
        (0.05, 0.60, "no difference can be told, +1.0 points"),
        (0.005, 0.58, ": -1.0 points [-1.5, -0.5]"),
    ],
)
def test_one_that_cannot_and_one_the_other_way(noise, accuracy, says):
    results = {"lafs": [result(accuracy, draws(accuracy, noise))], "scratch": [result(0.59, draws(0.59))]}
    assert says in verdict(results, SHOTS, {}, {})[0]


def test_what_the_rows_had():
    results = {name: [result(0.6)] for name in ("grid_frozen", "scratch_frozen")}
    first, second = verdict(results, SHOTS.head(0), {"lfw": 0.6}, {"grid": 3})
    assert first.startswith("No training face has a label: nothing was adapted")
    assert second == (
        "grid (frozen) 60.0 % against scratch (frozen) 60.0 % on lfw, without adaptation, "
        "3 pretraining steps: +0.0 points; chance is 60 %."
    )
    adapted = {name: [result(0.6)] for name in ("grid", "scratch", "lafs")}
    uneven = pd.DataFrame({"identity": ["a", "b", "b"]})
    sentences = verdict(adapted, uneven, {}, {})
    assert ["scratch" in line for line in sentences] == [True, False]
    assert all("adapted to 3 images of 2 people" in line for line in sentences)


def test_templates_are_quoted_at_a_false_accept_rate():
    metric = "tar_at_far_0.0001"
    results = {name: [result(0.6, drawn="template", metric=metric)] for name in ("lafs", "scratch")}
    (line,) = verdict(results, None, {}, {})
    assert "60.0 % TAR at FAR 0.0001 on lfw, after adaptation" in line
    assert line.endswith("chance is 0.01 %.")


def test_nothing_scored():
    assert verdict({}, None, {}, {}) == ["Nothing was scored: there is no model."]
    (line,) = verdict({"lafs": [], "scratch": []}, None, {}, {})
    assert line.startswith("Nothing was scored: no benchmark is named; the backbones lie in 06_models")


def test_chance_is_the_more_frequent_answer():
    pairs = pd.DataFrame(
        {"benchmark": ["a"] * 4 + ["b"] * 2, "is_same": [True, False, False, False, True, False]}
    )
    assert answer_by_chance(pairs) == {"a": 0.75, "b": 0.5}


def test_intervals_of_two_models_on_the_same_pairs_are_paired():
    """A model that is as good as another on every pair of a person: each varies, the difference does not."""
    rng = np.random.default_rng(0)
    first = np.repeat(np.arange(30), 4)
    second = np.where(np.arange(120) % 2, first, (first + 1 + rng.integers(0, 28, 120)) % 30)
    is_same, centers = first == second, rng.standard_normal((30, 8))
    a, b = (centers[side] + 2 * rng.standard_normal((120, 8)) for side in (first, second))
    resampling = Resampling(pair_units(is_same, first, second, 30), 300, 0)
    folds = first % 3
    one, scaled = (verify_pairs(a * by, b, is_same, folds, resampling).intervals["accuracy"] for by in (1, 3))
    other = verify_pairs(rng.standard_normal((120, 8)), b, is_same, folds, resampling).intervals["accuracy"]
    assert one.high - one.low > 0.05
    assert (one.over(scaled).low, one.over(scaled).high) == (0, 0)
    difference = np.subtract(one.values, other.values)
    assert one.over(other).low == pytest.approx(np.quantile(difference, 0.025))
    assert one.over(Interval(0.0, 1.0)) is None


def test_the_study_tells_draws_and_people():
    first, *others = study_verdict(made_up(0.05), 0, {"lfw": 0.5}, {"lafs": 1900})
    assert len(others) == 1
    assert re.fullmatch(
        r"LAFS \d\d\.\d % against scratch \d\d\.\d % on lfw, 1 image per identity, mean of 5 draws, "
        r"1,900 pretraining steps: no difference can be told, [+-]\d\.\d points \[-\d\.\d, \+\d\.\d\] "
        r"\(95 % interval over people and draws\); chance is 50 %\.",
        first,
    )
    assert ", 4 images per identity," in others[0]
    assert "no difference" not in others[0]
    backwards = study_verdict(made_up(0.05)[::-1], 0, {"lfw": 0.5}, {"lafs": 1900})
    assert sorted(backwards) == sorted([first, *others])
