"""The few-shot study as a command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.digest import model_digest

METHODS = {"scratch", "grid", "lafs", "lafs_no_noise", "lafs_all_landmarks"}
SHOTS, SEEDS = {0, 2}, {0, 1}
RUNS = len(METHODS) * len(SHOTS) * len(SEEDS)
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
    (lost,) = (runs / "lafs-2shots-seed1").glob("result-*.json")
    lost.unlink()
    (damaged,) = (runs / "scratch-0shots-seed0").glob("result-*.json")
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
    assert len(children) == RUNS + 2
    for run in children:
        assert run.info.status == "FINISHED"
        assert 0 <= run.data.metrics["accuracy/held_out"] <= 1
        steps = client.get_metric_history(run.info.run_id, "adapt/loss")
        assert (len(steps) > 1) == (run.data.params["shots"] != "0")


@pytest.mark.slow
def test_finished_runs_are_not_run_again_and_others_give_the_same(studied):
    data, before, printed = studied
    assert printed.count("finished before") == RUNS - 2
    pd.testing.assert_frame_equal(pd.read_csv(data / "08_reporting/study_table.csv"), before)
    assert not list((data / "06_models/checkpoints/study").rglob("step-*"))


@pytest.mark.slow
def test_the_table_is_that_of_the_runs(studied):
    data, table, _ = studied
    results = [
        row
        for path in (data / "06_models/checkpoints/study").glob("*/result-*.json")
        for row in json.loads(path.read_text())["results"]
    ]
    assert len(results) == RUNS
    lafs = [np.mean(row["fold_accuracy"]) for row in results if (row["method"], row["shots"]) == ("lafs", 2)]
    row = table[(table["method"] == "lafs") & (table["shots"] == 2)].iloc[0]
    assert row["mean"] == pytest.approx(100 * np.mean(lafs))
    assert row["seeds"] == 2
    differences = pd.read_csv(data / "08_reporting/study_differences.csv")
    assert len(differences) == 2 * 10
    assert (differences["low"] <= differences["difference"]).all()
    assert (differences["difference"] <= differences["high"]).all()
    assert (data / "08_reporting/study.png").stat().st_size > 10_000
    sentences = (data / "08_reporting/study_verdict.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == 2 * 2
    assert (
        sum(", 2 images per identity, mean of 2 draws, 4 pretraining steps: " in line for line in sentences)
        == 2
    )


@pytest.mark.slow
def test_what_pretraining_has_not_left_is_pretrained_here(studied):
    data, *_ = studied
    names = {"lafs_no_noise", "lafs_all_landmarks"}
    files = {path.stem: path for path in (data / "06_models/study_backbones").iterdir()}
    assert files.keys() == names
    models = {name: load_model(path) for name, path in files.items()}
    lafs = model_digest(load_model(data / "06_models/backbones/lafs.safetensors"))
    assert len({lafs, *map(model_digest, models.values())}) == 3
    network = model_digest(load_model(data / "06_models/landmark_network.safetensors"))
    for name in names:
        assert model_digest(models[name].landmark_network) == network
    trainings = {path.name for path in (data / "06_models/checkpoints").glob("pretrain_*")}
    assert trainings == {f"pretrain_{name}" for name in names | {"grid", "lafs"}}
    client, children = child_runs(data)
    for parent in {run.data.tags["mlflow.parentRunId"] for run in children}:
        logged = {Path(item.path).stem for item in client.list_artifacts(parent, "study_backbones")}
        assert logged == names


@pytest.mark.slow
def test_without_shots_a_pretrained_start_is_the_same_for_every_seed_and_a_blank_one_is_not(studied):
    data, table, _ = studied
    frozen = table[table["shots"] == 0].set_index("method")
    assert (frozen["std"].drop("scratch") == 0).all()
    for method in METHODS:
        records = (data / "06_models/checkpoints/study").glob(f"{method}-0shots-*/result-*.json")
        starts = {json.loads(path.read_text())["configuration"]["start"] for path in records}
        assert len(starts) == (2 if method == "scratch" else 1)


@pytest.mark.slow
def test_the_report_shows_the_study_until_the_backbone_is_another(studied, kedro):
    data, *_ = studied
    shown = []
    for seed in (0, 1):
        if seed:
            changed = ("--params", f"seed={seed}")
            assert kedro(data, "run", "--env", "smoke", "--pipelines=pretrain", *changed).returncode == 0
        finished = kedro(data, "run", "--env", "smoke", "--pipelines=report")
        assert finished.returncode == 0, finished.stderr[-3000:]
        page = (data / "08_reporting/report.html").read_text(encoding="utf-8")
        shown.append(["Paired differences" in page, "has not been run on these faces" in page])
        assert ("mean of 2 draws" in page) == (seed == 0)
    assert shown == [[True, False], [False, True]]
