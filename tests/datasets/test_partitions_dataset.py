"""Partitions, of which there may be none."""

import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from lafs_pipeline.datasets.optional_dataset import OptionalDataset
from lafs_pipeline.datasets.partitions_dataset import PartitionsDataset
from lafs_pipeline.runtime.errors import LafsError

TABLE = pd.DataFrame({"a": [1, 2]})


@pytest.fixture
def make(tmp_path):
    """A data set of Parquet files."""

    def dataset(**arguments):
        return PartitionsDataset(
            path=str(tmp_path / "parts"),
            dataset="pandas.ParquetDataset",
            filename_suffix=".parquet",
            **arguments,
        )

    return dataset


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_can_be_saved_and_is_there_then(make, overwrite):
    dataset = make(overwrite=overwrite)
    assert not dataset.exists()
    assert dataset.load() == {}
    dataset.save({})
    assert dataset.exists()
    assert dataset.load() == {}


def test_partitions_are_loaded_when_they_are_called(make, tmp_path):
    dataset = make()
    dataset.save({"b": TABLE, "a": TABLE * 2})
    (tmp_path / "parts/.c.x7.parquet").write_bytes(b"left by a process that was killed")
    (tmp_path / "parts/notes.txt").write_text("of a user")
    loaded = dataset.load()
    assert list(loaded) == ["a", "b"]
    pd.testing.assert_frame_equal(loaded["a"](), TABLE * 2)


@pytest.mark.parametrize(("overwrite", "left"), [(False, ["a", "b"]), (True, ["b"])])
def test_what_was_there_stays_unless_it_is_to_be_overwritten(make, overwrite, left):
    dataset = make(overwrite=overwrite)
    dataset.save({"a": TABLE})
    dataset.save({"b": TABLE})
    assert list(dataset.load()) == left


def test_what_may_be_missing(tmp_path):
    path = tmp_path / "table.parquet"
    dataset = OptionalDataset({"type": "pandas.ParquetDataset", "filepath": str(path)})
    assert (dataset.exists(), dataset.load()) == (False, None)
    dataset.save(TABLE)
    assert dataset.exists()
    pd.testing.assert_frame_equal(pd.read_parquet(path), TABLE)
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    path.write_bytes(b"damaged")
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, LafsError)
    assert f"{path} cannot be read" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("read_only_dataset.EmbeddingsDataset", {"filepath": "s3://bucket/embeddings"}),
        ("read_only_dataset.ModelDigestsDataset", {"filepath": "memory://models"}),
        ("model_dataset.ModelExportDataset", {"filepath": "s3://bucket/lafs/model.safetensors"}),
        (
            "partitions_dataset.PartitionsDataset",
            {"path": "s3://bucket", "filename_suffix": ".parquet", "dataset": "pandas.ParquetDataset"},
        ),
    ],
)
def test_an_address_is_refused_where_the_data_must_be_local(tmp_path, monkeypatch, kind, place):
    """And does not become a folder of that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DatasetError, LafsError), match="must be a local path"):
        DataCatalog.from_config({"it": {"type": f"lafs_pipeline.datasets.{kind}", **place}}).get("it")
    assert not list(tmp_path.iterdir())
