"""The manifest is saved whole or stays as it was."""

import shutil

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


@pytest.mark.parametrize("old_is_there", [False, True])
def test_a_data_folder_that_was_moved_or_copied_has_its_own_stores(tmp_path, old_is_there):
    own, foreign = "02_intermediate/faces/0a1b.rec", tmp_path / "elsewhere/train.rec"
    for path in (tmp_path / "old" / own, foreign):
        path.parent.mkdir(parents=True)
        path.touch()
    table = TABLE.assign(store=pd.Categorical([str(tmp_path / "old" / own), str(foreign)]))
    ManifestDataset(filepath=str(tmp_path / "old/03_primary/faces.parquet")).save(table)
    (shutil.copytree if old_is_there else shutil.move)(tmp_path / "old", tmp_path / "new")
    loaded = ManifestDataset(filepath=str(tmp_path / "new/03_primary/faces.parquet")).load()
    assert loaded["store"].tolist() == [str(tmp_path / "new" / own), str(foreign)]


def test_the_first_rows_are_shown(tmp_path):
    dataset = ManifestDataset(filepath=str(tmp_path / "faces.parquet"))
    dataset.save(TABLE)
    assert dataset.preview(1) == {"index": [0], "columns": ["key", "split"], "data": [["a", "train"]]}
