"""What MLflow is told of a benchmark table."""

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from lafs_pipeline.tracking.facts import (
    headline,
    log_data,
    log_table,
    reserve_headline,
    saved_path,
    table_metrics,
    table_note,
)

TABLE = pd.DataFrame(
    [
        ("lfw", "lafs", "accuracy", 0.8),
        ("lfw", "lafs", "eer", 0.25),
        ("ijbc", "lafs", "eer", 0.123456),
    ],
    columns=["benchmark", "model", "metric", "value"],
)


def test_a_metric_is_named_by_benchmark_model_and_metric():
    expected = {"accuracy/lfw/lafs": 0.8, "eer/lfw/lafs": 0.25, "eer/ijbc/lafs": 0.123456}
    assert table_metrics(TABLE) == expected


def test_a_name_that_mlflow_refuses_is_cleaned_and_no_value_is_lost():
    table = TABLE.head(2).assign(benchmark=["lfw(aligned)", "lfw[aligned]"], metric="accuracy")
    assert table_metrics(table) == {"accuracy/lfw_aligned_/lafs": 0.8, "accuracy/lfw_aligned_/lafs_": 0.25}


def test_a_benchmark_with_any_name_is_logged(active):
    table = TABLE.head(2).assign(benchmark="lfw(aligned)", group=None, data_fingerprint="f" * 16)
    log_table(table)
    run = mlflow.get_run(active.info.run_id)
    expected = {"accuracy/lfw_aligned_/lafs": 0.8, "eer/lfw_aligned_/lafs": 0.25, "accuracy": 0.8}
    assert run.data.metrics == expected
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["lfw(aligned)"]
    assert "| lfw(aligned) | lafs | 0.8000 | 0.2500 |" in run.data.tags["mlflow.note.content"]


def test_data_with_more_sources_than_a_name_holds_are_logged(active):
    sources = {f"a_rather_long_name_{number}": {} for number in range(60)}
    log_data({"sources": sources, "fingerprint": "f" * 16})
    (entry,) = mlflow.get_run(active.info.run_id).inputs.dataset_inputs
    assert entry.dataset.digest == "f" * 16
    assert entry.dataset.name.endswith("_3+56 more")


def of_benchmarks(**kinds):
    benchmarks = {name: {"kind": kind} for name, kind in kinds.items()}
    return DataCatalog({"parameters": MemoryDataset({"cataloging": {"benchmarks": benchmarks}})})


def test_the_accuracy_comes_first_among_the_metrics(active):
    """As on MLflow's page for comparing runs, which plots the first."""
    pipeline = Pipeline([Node(lambda x: x, "x", "benchmarks")])
    reserve_headline(pipeline, of_benchmarks(lfw="bin"))
    mlflow.log_metric("system/cpu_utilization_percentage", 5.0)
    log_table(TABLE.assign(group=None, data_fingerprint="f" * 16))
    reserve_headline(pipeline, of_benchmarks(lfw="bin"))  # when the run is continued
    metrics = mlflow.get_run(active.info.run_id).data.metrics
    assert next(iter(metrics)) == "accuracy"
    assert metrics["accuracy"] == 0.8


@pytest.mark.parametrize(
    ("output", "kinds"),
    [("faces", {"lfw": "bin"}), ("benchmarks", {"ijbc": "ijb"}), ("benchmarks", {"tiny": "tinyface"})],
)
def test_a_run_that_will_have_no_accuracy_gets_no_place_for_one(active, output, kinds):
    reserve_headline(Pipeline([Node(lambda x: x, "x", output)]), of_benchmarks(**kinds))
    assert mlflow.get_run(active.info.run_id).data.metrics == {}


def test_what_is_quoted_is_the_leading_model_s():
    rows = [
        ("lfw", "scratch", "accuracy", 0.9),
        ("lfw", "lafs", "eer", 0.1),
        ("lfw", "lafs", "accuracy", 0.7),
    ]
    table = pd.DataFrame([*rows, ("agedb", "lafs", "accuracy", 0.6)], columns=TABLE.columns)
    assert headline(table) == 0.7
    assert headline(table[table["metric"] == "eer"]) is None


def test_the_place_of_a_data_set_is_found_in_the_catalog(tmp_path):
    inner = {"type": "json.JSONDataset", "filepath": f"{tmp_path}/{{name}}.json"}
    tracked = {"type": "lafs_pipeline.tracking.tracked_dataset.TrackedDataset"}
    parts = {
        "type": "partitions.PartitionedDataset",
        "path": f"{tmp_path}/parts",
        "dataset": "json.JSONDataset",
    }
    catalog = DataCatalog.from_config(
        {
            "model_{name}": tracked | {"dataset": inner},
            "card": inner | {"filepath": f"{tmp_path}/card.json"},
            "parts": tracked | {"dataset": parts},
        }
    )
    catalog["in_memory"] = 5
    found = [saved_path(catalog, name) for name in ("model_a", "card", "parts", "in_memory", "unknown")]
    assert found == [tmp_path / "a.json", tmp_path / "card.json", tmp_path / "parts", None, None]


def test_the_note_has_a_row_a_model_and_a_column_a_metric():
    header, _, *rows = [line.strip("| ").split(" | ") for line in table_note(TABLE).splitlines()]
    assert header == ["benchmark", "model", "accuracy", "eer"]
    assert rows == [["lfw", "lafs", "0.8000", "0.2500"], ["ijbc", "lafs", "", "0.1235"]]
