"""The few-shot study as a command."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

METHODS, SHOTS, SEEDS = {"scratch", "grid", "lafs"}, {1, 2}, {0, 1}
COMMAND = ("run", "--env", "smoke", "--pipelines=study")


@pytest.fixture(scope="module")
def studied(kedro, smoke, tmp_path_factory):
    """A whole study, and a second one of which two runs had to be made again."""
    data = tmp_path_factory.mktemp("study") / "data"
    shutil.copytree(smoke, data)
    first = kedro(data, *COMMAND)
    assert first.returncode == 0, first.stderr[-3000:]
    runs = data / "06_models/checkpoints/study"
    before = pd.read_csv(data / "08_reporting/study_table.csv")
    (runs / "lafs-2shots-seed1/result.json").unlink()
    damaged = runs / "scratch-1shots-seed0/result.json"
    damaged.write_text(damaged.read_text()[:100])
    second = kedro(data, *COMMAND)
    assert second.returncode == 0, second.stderr[-3000:]
    return data, before, second.stdout


def child_runs(data):
    client = MlflowClient(f"sqlite:///{data}/mlflow.db")
    experiment = client.get_experiment_by_name("lafs_pipeline/study")
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    return client, [run for run in runs if "method" in run.data.params]


@pytest.mark.slow
def test_every_method_shot_and_seed_is_a_child_run_with_curves_and_result(studied):
    data, *_ = studied
    client, children = child_runs(data)
    parents = {run.data.tags["mlflow.parentRunId"] for run in children}
    assert len(parents) == 2
    facts = {
        (r.data.params["method"], int(r.data.params["shots"]), int(r.data.params["seed"])) for r in children
    }
    assert facts == {(m, k, s) for m in METHODS for k in SHOTS for s in SEEDS}
    assert len(children) == 12 + 2
    for run in children:
        assert run.info.status == "FINISHED"
        assert 0 <= run.data.metrics["held_out/accuracy"] <= 1
        assert len(client.get_metric_history(run.info.run_id, "adapt/loss")) > 1


@pytest.mark.slow
def test_finished_runs_are_not_run_again_and_others_give_the_same(studied):
    data, before, printed = studied
    assert printed.count("finished before") == 10
    pd.testing.assert_frame_equal(pd.read_csv(data / "08_reporting/study_table.csv"), before)
    assert not list((data / "06_models/checkpoints/study").glob("*/step-*"))


@pytest.mark.slow
def test_the_table_is_that_of_the_runs(studied):
    data, table, _ = studied
    results = [
        row
        for path in (data / "06_models/checkpoints/study").glob("*/result.json")
        for row in json.loads(path.read_text())["results"]
    ]
    assert len(results) == 12
    lafs = [np.mean(row["fold_accuracy"]) for row in results if (row["method"], row["shots"]) == ("lafs", 2)]
    row = table[(table["method"] == "lafs") & (table["shots"] == 2)].iloc[0]
    assert row["mean"] == pytest.approx(100 * np.mean(lafs))
    assert row["seeds"] == 2
    differences = pd.read_csv(data / "08_reporting/study_differences.csv")
    assert len(differences) == 2 * 3
    assert (differences["low"] <= differences["difference"]).all()
    assert (differences["difference"] <= differences["high"]).all()
    assert (data / "08_reporting/study.png").stat().st_size > 10_000
