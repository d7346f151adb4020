"""What a finished run shows on the terminal."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset

from lafs_pipeline.hooks.advice import advice
from lafs_pipeline.hooks.summary import SummaryHooks

PROJECT = Path(__file__).parents[2]
TABLE = pd.DataFrame(
    [
        ("lfw", "lafs", "accuracy", None, 0.8, 0.75, 0.85),
        ("lfw", "lafs", "accuracy", "women", 0.7, 0.6, 0.8),
        ("lfw", "lafs", "accuracy", "men", 0.9, 0.8, 1.0),
        ("lfw", "scratch", "accuracy", None, 0.75, 0.7, 0.8),
        ("lfw", "lafs", "eer", None, np.nan, np.nan, np.nan),
        ("lfw", "lafs", "auc", None, 0.875, 0.85, 0.9),
    ],
    columns=["benchmark", "model", "metric", "group", "value", "low", "high"],
)


@pytest.fixture
def summary(tmp_path, capsys):
    """What is printed after a run of a pipeline that makes a table and a JSON file."""
    bootstrap_project(PROJECT)
    datasets = {
        "benchmarks": CSVDataset(filepath=str(tmp_path / "8/benchmarks.csv")),
        "card": JSONDataset(filepath=str(tmp_path / "5/card.json")),
        "report": JSONDataset(filepath=str(tmp_path / "8/report.html")),
        "between": MemoryDataset(),
    }

    def run(*outputs, names=None, env=None):
        made = {"benchmarks": TABLE, "card": {}, "report": "<p>", "between": 1}
        nodes = [node(lambda value=made[name]: value, None, name, name=name) for name in outputs]
        pipeline, catalog, hooks = Pipeline(nodes), DataCatalog(datasets), SummaryHooks()
        hooks.before_pipeline_run(pipeline)
        advice.begin({"env": env})
        SequentialRunner().run(pipeline, catalog)
        for name in outputs:
            hooks.after_dataset_saved(name, made[name])
        capsys.readouterr()
        hooks.after_pipeline_run({"pipeline_names": names, "env": env}, pipeline, catalog)
        return capsys.readouterr().out

    return run


def test_the_table_has_a_row_a_model_and_leaves_groups_out(summary):
    shown = summary("benchmarks")
    lines = shown[shown.index("metric") :].splitlines()
    assert lines[0].split() == ["metric", "accuracy", "eer", "auc"]
    assert lines[2].split() == ["lfw", "lafs", "80.0%", "[75.0%,", "85.0%]", "87.5%"]
    assert lines[3].split() == ["scratch", "75.0%", "[70.0%,", "80.0%]"]
    assert "women" not in "".join(lines)


def test_where_the_results_lie(summary, tmp_path):
    shown = summary("card", "benchmarks", "between", "report")
    assert f"{tmp_path}/5  card.json\n" in shown
    assert f"{tmp_path}/8  benchmarks.csv, report.html\n" in shown
    assert f"The report, for a browser: file://{tmp_path}/8/report.html\n" in shown
    assert "between" not in shown


@pytest.mark.parametrize(
    ("names", "env", "command"),
    [
        (["cataloging"], None, "kedro run --pipelines=landmarks"),
        (["adapt", "pretrain"], "smoke", "kedro run --pipelines=evaluate --env smoke"),
        (None, None, "kedro mlflow ui"),
    ],
)
def test_what_to_do_next(summary, names, env, command):
    assert f"Next: {command}" in summary("card", names=names, env=env)
