"""Landmarks in the catalog: mapped, linked, and never half of two extractions."""

import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.datasets.landmarks_dataset import LandmarksDataset
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.self_supervised import CachedLandmarks

KEYS = ["web/b", "web/a", "web/c"]


@pytest.fixture
def found(tmp_path):
    points = np.arange(3 * 8, dtype=np.float32).reshape(3, 8)
    np.save(tmp_path / "found.npy", points)
    vectors = np.load(tmp_path / "found.npy", mmap_mode="r")
    return Embeddings(pd.Series(range(3), index=pd.Index(KEYS, dtype="string")), vectors, "print")


def test_what_was_saved_is_mapped_and_takes_no_second_place(tmp_path, found):
    dataset = LandmarksDataset(str(tmp_path / "landmarks"))
    assert not dataset.exists()
    for _ in range(2):
        dataset.save(found)
    loaded = dataset.load()
    assert dataset.exists()
    assert list(loaded.rows.index) == KEYS
    assert isinstance(loaded.vectors, np.memmap)
    np.testing.assert_array_equal(loaded.vectors, found.vectors)
    assert (tmp_path / "landmarks/points.npy").samefile(tmp_path / "found.npy")
    assert sorted(path.name for path in (tmp_path / "landmarks").iterdir()) == ["keys.parquet", "points.npy"]


def test_points_without_keys_are_no_landmarks(tmp_path, found):
    dataset = LandmarksDataset(str(tmp_path / "landmarks"))
    dataset.save(found)
    (tmp_path / "landmarks/keys.parquet").unlink()
    assert not dataset.exists()


def test_every_face_of_a_manifest_gets_its_own(found):
    manifest = pd.DataFrame({"key": pd.array(["web/a", "web/b"], dtype="string")})
    cached = CachedLandmarks.of(manifest, found)
    np.testing.assert_array_equal(cached[0], [[[8, 9], [10, 11]], [[12, 13], [14, 15]]])
    np.testing.assert_array_equal(cached[1], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])


def test_a_face_without_landmarks_is_refused(found):
    manifest = pd.DataFrame({"key": pd.array(["web/a", "web/new"], dtype="string")})
    with pytest.raises(LafsError, match=r"1 of 2 .*landmarks\.extract"):
        CachedLandmarks.of(manifest, found)
