"""The manifest is saved whole or stays as it was."""

import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from lafs_pipeline.datasets.manifest_dataset import ManifestDataset

TABLE = pd.DataFrame({"key": ["a", "b"], "split": pd.Categorical(["train", "lfw"])})


def test_a_table_that_cannot_be_saved_leaves_the_one_before(tmp_path):
    dataset = ManifestDataset(filepath=str(tmp_path / "deep/faces.parquet"))
    assert not dataset.exists()
    assert (
        DataCatalog({"faces": dataset}).to_config()[0]["faces"]["filepath"]
        == f"{tmp_path}/deep/faces.parquet"
    )
    dataset.save(TABLE)
    with pytest.raises(DatasetError):
        dataset.save(pd.DataFrame({"key": ["a", {1, 2}]}))
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["faces.parquet"]


def test_the_file_in_use_is_never_written_into(tmp_path):
    dataset = ManifestDataset(filepath=str(tmp_path / "faces.parquet"))
    dataset.save(TABLE)
    with (tmp_path / "faces.parquet").open("rb") as before:
        dataset.save(TABLE[:1])
        pd.testing.assert_frame_equal(pd.read_parquet(before), TABLE)
    assert len(dataset.load()) == 1


def test_the_first_rows_are_shown(tmp_path):
    dataset = ManifestDataset(filepath=str(tmp_path / "faces.parquet"))
    dataset.save(TABLE)
    assert dataset.preview(1) == {"index": [0], "columns": ["key", "split"], "data": [["a", "train"]]}
