"""What MLflow is told of a benchmark table."""

import pandas as pd
from lafs_pipeline.hooks.facts import table_metrics, table_note

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


def test_the_note_has_a_row_a_model_and_a_column_a_metric():
    header, _, *rows = [line.strip("| ").split(" | ") for line in table_note(TABLE).splitlines()]
    assert header == ["benchmark", "model", "accuracy", "eer"]
    assert rows == [["lfw", "lafs", "0.8000", "0.2500"], ["ijbc", "lafs", "", "0.1235"]]
