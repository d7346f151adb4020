from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.evaluation.few_shot_results import made_up

from lafs_pipeline.evaluation.few_shot import FewShotResult, few_shot_table, paired_differences
from lafs_pipeline.runtime.errors import LafsError


def test_the_table_is_mean_and_standard_deviation_over_seeds():
    results = made_up(0.05)
    table = few_shot_table(results).set_index(["shots", "method"])
    runs = [100 * np.mean(r.fold_accuracy) for r in results if (r.shots, r.method) == (4, "lafs")]
    row = table.loc[(4, "lafs")]
    assert row["mean"] == pytest.approx(np.mean(runs))
    assert row["std"] == pytest.approx(np.std(runs, ddof=1))
    assert row["seeds"] == 5


def test_differences_are_paired_and_their_intervals_find_the_gain_alone():
    rows = paired_differences(made_up(0.05)).set_index("shots")
    assert rows["better"].unique().tolist() == ["lafs"]
    assert rows["than"].unique().tolist() == ["scratch"]
    assert rows.loc[4, "low"] < 5 < rows.loc[4, "high"]
    assert rows.loc[4, "low"] > 0
    assert rows.loc[1, "low"] < 0 < rows.loc[1, "high"]


def test_one_seed_gives_the_bootstrap_of_the_people():
    results = made_up(0.0, seeds=1)
    row = paired_differences(results).iloc[0]
    difference = 100 * np.subtract(results[1].resampled, results[0].resampled)
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(difference, [0.025, 0.975]))


def test_seeds_that_differ_widen_the_interval():
    """The standard error of the mean of three seeds, where people make no difference."""
    gains = (-0.03, 0.0, 0.03)
    results = [
        FewShotResult(method, 1, seed, "lfw", (value, value), (value,) * 4000)
        for seed, gain in enumerate(gains)
        for method, value in (("scratch", 0.6), ("lafs", 0.6 + gain))
    ]
    row = paired_differences(results).iloc[0]
    drawn = stats.bootstrap((100 * np.array(gains),), np.mean, method="percentile").confidence_interval
    np.testing.assert_allclose([row["low"], row["high"]], drawn, atol=0.2)


def test_a_shorter_bootstrap_is_the_beginning_of_a_longer_one():
    results = made_up(0.05)
    cut = [replace(result, resampled=result.resampled[:500]) for result in results]
    mixed = paired_differences([*results[:3], *cut[3:]])
    pd.testing.assert_frame_equal(mixed.iloc[1:], paired_differences(cut).iloc[1:])
    none = paired_differences([replace(result, resampled=()) for result in results])
    assert none[["low", "high"]].isna().all(axis=None)


def test_missing_runs_are_named():
    with pytest.raises(LafsError, match="lfw at 1 shots"):
        few_shot_table(made_up(0.0)[1:])
