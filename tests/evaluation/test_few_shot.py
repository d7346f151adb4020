import numpy as np
import pytest
from scipy import stats
from tests.evaluation.few_shot_results import made_up

from lafs_pipeline.evaluation.few_shot import few_shot_table, paired_differences
from lafs_pipeline.runtime.errors import LafsError


def test_the_table_is_mean_and_standard_deviation_over_seeds():
    results = made_up(0.05)
    table = few_shot_table(results).set_index(["shots", "method"])
    runs = [100 * np.mean(r.fold_accuracy) for r in results if (r.shots, r.method) == (4, "LAFS")]
    row = table.loc[(4, "LAFS")]
    assert row["mean"] == pytest.approx(np.mean(runs))
    assert row["std"] == pytest.approx(np.std(runs, ddof=1))
    assert row["seeds"] == 5


def test_differences_are_paired_and_their_intervals_find_the_gain_alone():
    rows = paired_differences(made_up(0.05)).set_index("shots")
    assert rows["better"].unique().tolist() == ["LAFS"]
    assert rows["than"].unique().tolist() == ["scratch"]
    assert rows.loc[4, "low"] < 5 < rows.loc[4, "high"]
    assert rows.loc[4, "low"] > 0
    assert rows.loc[1, "low"] < 0 < rows.loc[1, "high"]


def test_one_seed_gives_the_bootstrap_of_its_folds():
    results = made_up(0.0, seeds=1)
    row = paired_differences(results).iloc[0]
    first, second = (np.array(result.fold_accuracy) for result in results[:2])
    oracle = stats.bootstrap(
        (100 * (second - first),), np.mean, n_resamples=10_000, method="percentile", random_state=0
    ).confidence_interval
    assert row["low"] == pytest.approx(oracle.low, abs=0.05)
    assert row["high"] == pytest.approx(oracle.high, abs=0.05)


def test_missing_runs_are_named():
    with pytest.raises(LafsError, match="lfw at 1 shots"):
        few_shot_table(made_up(0.0)[1:])
