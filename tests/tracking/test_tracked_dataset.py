"""Data sets whose files are artifacts of the run."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from mlflow.tracking import MlflowClient

from lafs_pipeline.tracking.tracked_dataset import TrackedDataset
from lafs_pipeline.tracking.tracker import tracker

TABLE = pd.DataFrame({"a": [1, 2]})


def table(folder, **entry):
    inner = {"type": "pandas.CSVDataset", "filepath": f"{folder}/table.csv", "save_args": {"index": False}}
    return TrackedDataset(inner, **entry)


def artifacts(run, folder=None):
    return [item.path for item in MlflowClient().list_artifacts(run.info.run_id, folder)]


def test_what_is_saved_is_also_logged(active, tmp_path):
    dataset = table(tmp_path / "data", artifact_path="tables")
    assert not dataset.exists()
    dataset.save(TABLE)
    assert dataset.exists()
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    assert artifacts(active, "tables") == ["tables/table.csv"]
    stored = mlflow.artifacts.download_artifacts(run_id=active.info.run_id, artifact_path="tables/table.csv")
    assert Path(stored).read_bytes() == (tmp_path / "data/table.csv").read_bytes()
    dataset.release()


def test_without_a_run_nothing_is_logged_nor_opened(database, tmp_path):
    mlflow.set_tracking_uri(database)
    table(tmp_path).save(TABLE)
    assert MlflowClient().search_runs(["0", "1"]) == []


def test_where_mlflow_fails_the_data_is_saved_with_one_warning(active, tmp_path, caplog):
    shutil.rmtree(tmp_path / "artifacts", ignore_errors=True)
    (tmp_path / "artifacts").write_text("a file in the way")
    for number in (1, 2):
        table(tmp_path / str(number)).save(TABLE)
        assert (tmp_path / str(number) / "table.csv").exists()
    (warning,) = [message for message in caplog.messages if "MLflow failed" in message]
    assert f"{tmp_path}/1/table.csv" in warning
    assert not tracker.is_on


def test_what_cannot_be_saved_is_an_error_as_ever(active, tmp_path):
    with pytest.raises(DatasetError):
        table(tmp_path).save(5)
    assert tracker.is_on


def test_of_a_partitioned_data_set_what_was_saved_is_logged_into_a_folder(active, tmp_path):
    inner = {"type": "partitions.PartitionedDataset", "path": str(tmp_path / "tables")}
    dataset = TrackedDataset(inner | {"dataset": "pandas.CSVDataset", "filename_suffix": ".csv"})
    (tmp_path / "tables").mkdir()
    shutil.copy(__file__, tmp_path / "tables/of_others.csv")
    dataset.save({"one": TABLE, "two": TABLE})
    assert artifacts(active, "tables") == ["tables/one.csv", "tables/two.csv"]
    assert sorted(dataset.load()) == ["of_others", "one", "two"]


def test_versions_are_those_of_the_data_set(active, tmp_path):
    config = {"type": "lafs_pipeline.tracking.tracked_dataset.TrackedDataset", "versioned": True}
    config |= {"dataset": {"type": "pandas.CSVDataset", "filepath": f"{tmp_path}/table.csv"}}
    catalog = DataCatalog.from_config({"table": config}, save_version="2026-01-01T00.00.00.000Z")
    catalog.save("table", TABLE)
    assert (tmp_path / "table.csv/2026-01-01T00.00.00.000Z/table.csv").is_file()
    assert artifacts(active) == ["table.csv"]
    assert len(catalog.load("table")) == 2


def test_kedro_viz_sees_the_preview_of_the_data_set_and_its_own_metadata(tmp_path):
    from kedro_viz.models.flowchart.node_metadata import DataNodeMetadata
    from kedro_viz.models.flowchart.nodes import DataNode, GraphNode

    metadata = {"kedro-viz": {"layer": "reporting", "preview_args": {"nrows": 1}}}
    dataset = table(tmp_path, metadata=metadata)
    dataset.save(TABLE)
    node = GraphNode.create_data_node("table", "table", "reporting", set(), dataset, None)
    assert isinstance(node, DataNode)
    shown = DataNodeMetadata(data_node=node)
    assert shown.preview_type == "TablePreview"
    assert shown.preview == {"index": [0], "columns": ["a"], "data": [[1]]}
    assert shown.filepath == f"{tmp_path}/table.csv"
    model = {"type": "lafs_pipeline.datasets.model_dataset.FaceModelDataset", "filepath": f"{tmp_path}/m"}
    assert not hasattr(TrackedDataset(model), "preview")


def test_a_data_set_without_a_place_is_refused():
    with pytest.raises(DatasetError, match="neither filepath nor path"):
        DataCatalog.from_config(
            {
                "table": {
                    "type": "lafs_pipeline.tracking.tracked_dataset.TrackedDataset",
                    "dataset": {"type": "kedro.io.MemoryDataset"},
                }
            }
        ).get("table")
