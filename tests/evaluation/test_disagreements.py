"""Pairs that two models decide differently, and what their scores differ by."""

import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.evaluation.cost import measure_cost
from lafs_pipeline.evaluation.disagreements import DISAGREEMENT_TYPES, find_disagreements
from lafs_pipeline.evaluation.resampling import pair_units
from lafs_pipeline.evaluation.results import BenchmarkResult, Facts, benchmark_table
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.verification import Resampling, verify_pairs
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.runtime.errors import LafsError

PEOPLE, EACH, FOLDS = 30, 4, 5


@pytest.fixture(scope="module")
def faces():
    """Pairs of thirty people in five folds, and embeddings of three models that err to a different degree."""
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(PEOPLE), EACH)
    centers = rng.normal(size=(PEOPLE, 16))
    keys = [f"b/{n:03d}" for n in range(len(identity))]
    models = {
        name: centers[identity] + noise * rng.normal(size=(len(keys), 16))
        for name, noise in (("good", 0.8), ("fair", 1.3), ("poor", 1.8))
    }
    same = [(p * EACH + i, p * EACH + j) for p in range(PEOPLE) for i in range(EACH) for j in range(i)]
    strangers = rng.integers(0, len(keys), (4 * len(same), 2))
    strangers = strangers[identity[strangers[:, 0]] != identity[strangers[:, 1]]][: len(same)]
    pairs = np.concatenate([same, strangers])
    table = pd.DataFrame({"key_a": [keys[a] for a, _ in pairs], "key_b": [keys[b] for _, b in pairs]})
    table = table.assign(benchmark="b", is_same=np.arange(len(pairs)) < len(same))
    table["fold"] = table.groupby("is_same").cumcount() % FOLDS
    rows = pd.Series(range(len(keys)), index=keys)
    return identity, pairs, table, {name: Embeddings(rows, vectors, "f") for name, vectors in models.items()}


def decided(vectors, pairs, is_same, fold):
    """The margin of every pair, the threshold of its fold found by trying those of the protocol."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = np.square(unit[pairs[:, 0]] - unit[pairs[:, 1]]).sum(axis=1)
    margin = np.empty(len(pairs))
    for held in range(FOLDS):
        tried = np.arange(0, 4, 0.01)
        right = [((distance < t) == is_same)[fold != held].sum() for t in tried]
        margin[fold == held] = (tried[int(np.argmax(right))] - distance[fold == held]) / 2
    return margin


def test_pairs_that_are_decided_differently(faces):
    _, pairs, table, models = faces
    is_same, fold = table["is_same"].to_numpy(), table["fold"].to_numpy()
    found = find_disagreements(table, {name: {"b": own} for name, own in models.items()}, "fair", 3)
    assert found.dtypes.astype(str).to_dict() == DISAGREEMENT_TYPES
    theirs = decided(models["fair"].vectors, pairs, is_same, fold)
    for model in ("good", "poor"):
        own = decided(models[model].vectors, pairs, is_same, fold)
        for right, margin, other in (("fair", theirs, own), (model, own, theirs)):
            places = np.flatnonzero(((margin > 0) == is_same) & ((other > 0) != is_same))
            rows = found[(found["model"] == model) & (found["right"] == right)]
            assert rows["pairs"].unique().tolist() == [len(places)]
            order = places[np.argsort(-np.abs(margin - other)[places], kind="stable")][:3]
            assert rows["key_a"].tolist() == table["key_a"].iloc[order].tolist()
            np.testing.assert_allclose(rows["margin"], own[order], atol=1e-9)
            np.testing.assert_allclose(rows["margin_reference"], theirs[order], atol=1e-9)


def test_without_the_reference_nothing_is_compared(faces):
    assert find_disagreements(faces[2], {"good": {"b": faces[3]["good"]}}, "absent", 3).empty
    assert find_disagreements(faces[2], {"good": {}, "fair": {"b": faces[3]["fair"]}}, "fair", 3).empty


def result(faces, name, resamples):
    identity, pairs, table, models = faces
    same = table["is_same"].to_numpy()
    units = pair_units(same, *identity[pairs].T, PEOPLE)
    sides = [models[name].vectors[pairs[:, side]] for side in (0, 1)]
    found = verify_pairs(*sides, same, table["fold"].to_numpy(), Resampling(units, resamples, 0))
    facts = Facts(len(pairs), FOLDS, None, 0, 0, None, True, False, False, "a", name, "f")
    curve = found.false_accept_rate, found.true_accept_rate, found.fold_accuracy
    return BenchmarkResult("b", None, found.metrics(), found.intervals, units.kind, resamples, facts, *curve)


def test_differences_have_the_intervals_of_a_bootstrap_over_people(faces):
    """The oracle draws people, lists every pair as often as they say, and scores both models anew."""
    identity, pairs, table, models = faces
    table_of = benchmark_table({name: [result(faces, name, 400)] for name in models}, "fair")
    rows = table_of[table_of["metric"] == "auc"].set_index("model")
    assert rows.loc["fair", ["reference", "difference"]].isna().tolist() == [False, True]
    is_same = table["is_same"].to_numpy()
    rng, differences = np.random.default_rng(7), []
    scores = {}
    for name, own in models.items():
        unit = own.vectors / np.linalg.norm(own.vectors, axis=1, keepdims=True)
        scores[name] = (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(axis=1)
    first, second = identity[pairs].T
    for _ in range(400):
        drawn = np.bincount(rng.integers(0, PEOPLE, PEOPLE), minlength=PEOPLE)
        repeats = np.where(first == second, drawn[first], drawn[first] * drawn[second])
        listed = np.repeat(np.arange(len(pairs)), repeats)
        of_same = is_same[listed]
        area = {}
        for name in ("good", "fair"):
            own = scores[name][listed]
            area[name] = (own[of_same][:, None] > own[~of_same][None]).mean()
        differences.append(area["good"] - area["fair"])
    low, high = np.quantile(differences, [0.025, 0.975])
    width = high - low
    assert rows.loc["good", "difference"] == pytest.approx(rows["value"]["good"] - rows["value"]["fair"])
    assert rows.loc["good", "difference_low"] == pytest.approx(low, abs=0.2 * width)
    assert rows.loc["good", "difference_high"] == pytest.approx(high, abs=0.2 * width)
    assert rows.loc["good", "difference_low"] > 0 > rows.loc["poor", "difference_high"]


def test_only_the_same_pairs_are_compared(faces):
    one, other = result(faces, "good", 0), result(faces, "fair", 0)
    changed = BenchmarkResult(**vars(one) | {"facts": Facts(**vars(one.facts) | {"data_fingerprint": "g"})})
    table = benchmark_table({"good": [changed], "fair": [other]}, "fair")
    assert table["difference"].isna().all()
    plain = benchmark_table({"good": [one], "fair": [other]}, "fair").set_index(["model", "metric"])
    row = plain.loc[("good", "accuracy")]
    assert row["difference"] == row["value"] - plain.loc[("fair", "accuracy"), "value"]
    assert np.isnan(row["difference_low"])


def test_the_reference_is_one_of_the_models():
    assert EvaluateSettings().reference_of(["a", "lafs"]) == "lafs"
    assert EvaluateSettings(reference="a").reference_of(["a", "lafs"]) == "a"
    with pytest.raises(LafsError, match=r"evaluate\.reference is 'b'; the models are lafs, a"):
        EvaluateSettings(reference="b").reference_of(["a", "lafs"])
    assert EvaluateSettings(reference="b").reference_of([]) is None


def test_size_is_that_of_the_weights():
    model = build_model("fvit_tiny_patch8_112", {"depth": 1, "patch_size": 16})
    size, rate = measure_cost(model, EvaluateSettings(batch_size=4))
    assert size == sum(p.numel() * 4 for p in model.parameters()) / 1e6
    assert rate > 0
