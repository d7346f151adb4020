"""FaceImages in this process and in DataLoader workers."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOWriter

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 112, 112, 3), dtype=np.uint8)
COLUMNS = ["key", "store", "record", "offset", "channel_order"]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def manifest(tmp_path) -> pd.DataFrame:
    rows = {}
    for store in (0, 1):
        path = tmp_path / f"{store}.rec"
        with RecordIOWriter(path) as writer:
            for number in range(store, 6, 2):
                offset = writer.write_image(number, png(PIXELS[number]), 0.0)
                rows[number] = (f"s/{number}", str(path), number, offset, "bgr" if number == 3 else "rgb")
    return pd.DataFrame([rows[number] for number in range(6)], columns=COLUMNS)


def test_random_access(manifest):
    faces = FaceImages(manifest)
    assert len(faces) == 6
    for number in (5, 0, 3, 2):
        expected = PIXELS[number][..., ::-1] if number == 3 else PIXELS[number]
        np.testing.assert_array_equal(faces[number], expected)
        assert faces[number].flags.c_contiguous


def test_pickled_after_use_and_in_workers(manifest):
    faces = FaceImages(manifest)
    first = faces[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(faces))[0], first)
    loader = DataLoader(faces, batch_size=2, num_workers=2)
    loaded = np.concatenate([batch.numpy() for batch in loader])
    expected = PIXELS.copy()
    expected[3] = expected[3][..., ::-1]
    np.testing.assert_array_equal(loaded, expected)


def test_a_subset_of_rows(manifest):
    np.testing.assert_array_equal(FaceImages(manifest[manifest["record"] > 3])[0], PIXELS[4])


@pytest.mark.parametrize("content", [b"not an image", png(PIXELS[0])[:3000], png(PIXELS[0][:50])])
def test_unusable_records_are_named(tmp_path, content):
    with RecordIOWriter(tmp_path / "a.rec") as writer:
        writer.write_image(8, content, 0.0)
    row = ("s/name", str(tmp_path / "a.rec"), 8, 0, "rgb")
    faces = FaceImages(pd.DataFrame([row], columns=COLUMNS))
    with pytest.raises(LafsError, match=r"a\.rec, record 8 \(s/name\) cannot be used"):
        faces[0]


def test_another_file_in_the_place_of_the_store(manifest, tmp_path):
    with RecordIOWriter(tmp_path / "1.rec") as writer:
        writer.write_image(0, b"short", 0.0)
    with pytest.raises(LafsError, match=r"1\.rec, record 3 \(s/3\) is damaged: it should start at byte"):
        FaceImages(manifest)[3]


def test_missing_store(manifest, tmp_path):
    (tmp_path / "1.rec").unlink()
    with pytest.raises(LafsError, match=r"1\.rec of the manifest does not exist"):
        FaceImages(manifest)


def test_several_faces_at_once(manifest):
    faces = FaceImages(manifest)
    np.testing.assert_array_equal(faces.stack(), np.stack([faces[row] for row in range(len(faces))]))
    np.testing.assert_array_equal(faces.stack([3, 0]), np.stack([faces[3], faces[0]]))
