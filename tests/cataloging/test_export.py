"""Packed files against readers that share nothing with the writer."""

import io
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lafs_pipeline.cataloging.export import export_recordio, write_pair_set
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.protocols.pair_sets import read_pair_set
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource

MAGIC = 0xCED7230A
PEOPLE = ["s/b", "s/a", "s/c", "s/a", "s/b", "s/a"]


def read_record(data: bytes, offset: int) -> tuple[list[float], int, bytes]:
    """Labels, id and image of an unsplit record, as the format says."""
    magic, word = struct.unpack_from("<II", data, offset)
    assert magic == MAGIC
    assert word >> 29 == 0
    flag, label, number, _ = struct.unpack_from("<IfQQ", data, offset + 8)
    labels = list(struct.unpack_from(f"<{flag}f", data, offset + 32)) if flag else [label]
    return labels, number, data[offset + 32 + 4 * flag : offset + 8 + word]


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((112, 112, 3), 10 * seed, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def manifest(tmp_path) -> pd.DataFrame:
    with RecordIOWriter(tmp_path / "faces.rec") as writer:
        offsets = [writer.write_image(number, png(number), 0.0) for number in range(len(PEOPLE))]
    return pd.DataFrame(
        {
            "key": [f"s/{number}" for number in range(len(PEOPLE))],
            "identity": PEOPLE,
            "store": str(tmp_path / "faces.rec"),
            "record": range(len(PEOPLE)),
            "offset": offsets,
            "channel_order": "rgb",
        }
    )


def test_insightface_layout(manifest, tmp_path):
    """Read as InsightFace's MXFaceDataset does: record 0 gives the range of image keys, each has a label."""
    path = tmp_path / "out" / "train.rec"
    assert export_recordio(manifest, path) == ["s/a", "s/b", "s/c"]
    data = path.read_bytes()
    index = dict(
        tuple(map(int, line.split("\t"))) for line in path.with_suffix(".idx").read_text().splitlines()
    )
    assert sorted(index) == list(range(1 + 6 + 3))
    labels, _, image = read_record(data, index[0])
    assert (labels, image) == ([7.0, 10.0], b"")
    found = [read_record(data, index[key]) for key in range(1, int(labels[0]))]
    assert [labels for labels, _, _ in found] == [[0.0]] * 3 + [[1.0]] * 2 + [[2.0]]
    assert [number for _, number, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [image for _, _, image in found] == [png(number) for number in (1, 3, 5, 0, 4, 2)]
    ranges = [read_record(data, index[key])[0] for key in range(int(labels[0]), int(labels[1]))]
    assert ranges == [[1.0, 4.0], [4.0, 6.0], [6.0, 7.0]]
    assert (path.parent / "property").read_text() == "3,112,112\n"
    source = RecordIOSource(path)
    assert [source.identity(i) for i in range(len(source))] == ["0", "0", "0", "1", "1", "2"]


def test_what_cannot_be_exported(manifest, tmp_path):
    path = tmp_path / "train.rec"
    with pytest.raises(LafsError, match="stored as bgr and rgb"):
        export_recordio(manifest.assign(channel_order=["bgr"] * 3 + ["rgb"] * 3), path)
    with pytest.raises(LafsError, match="have no identity"):
        export_recordio(manifest.assign(identity=[None, *PEOPLE[1:]]), path)
    with pytest.raises(LafsError, match="is damaged"):
        export_recordio(manifest.assign(offset=4), path)
    assert [file.name for file in tmp_path.iterdir() if file.stem != "faces"] == []
    assert FaceImages(manifest)[2][0, 0].tolist() == [20, 20, 20]


def test_pair_set_as_insightface_reads_it(tmp_path):
    images, is_same = [png(number) for number in range(6)], np.array([True, False, True])
    write_pair_set(tmp_path / "set.bin", images, is_same)
    with (tmp_path / "set.bin").open("rb") as stream:
        bins, issame_list = pickle.load(stream, encoding="bytes")
    assert bins == images
    assert [type(entry) for entry in (bins[0], issame_list[0])] == [bytes, bool]
    assert issame_list == [True, False, True]


@pytest.mark.parametrize("name", ["set.bin", "set.rec"])
def test_pair_sets_come_back(tmp_path, name):
    images = [png(number) for number in range(6)]
    write_pair_set(tmp_path / name, images, [False, True, True])
    found = read_pair_set(tmp_path / name)
    assert found.images == images
    assert found.is_same.tolist() == [False, True, True]


def test_records_that_are_no_pair_set(tmp_path):
    for labels in ([1, 0], [2, 2], [1], [float("nan")] * 2):
        with RecordIOWriter(tmp_path / "set.rec") as writer:
            for key, label in enumerate(labels):
                writer.write_image(key, b"image", label)
        with pytest.raises(LafsError, match="is not a pair set"):
            read_pair_set(tmp_path / "set.rec")


def test_pair_sets_that_cannot_be_written(tmp_path):
    with pytest.raises(LafsError, match="3 images for 2 pairs"):
        write_pair_set(tmp_path / "a.bin", [b"x"] * 3, [True, False])
    (tmp_path / "file").write_text("")
    for name in ("a.bin", "a.rec"):
        with pytest.raises(LafsError, match="cannot be written"):
            write_pair_set(tmp_path / "file" / name, [b"x"] * 2, [True])


def test_insightface_sample_survives_packing(shared_dir, tmp_path):
    sample = read_pair_set(shared_dir / "faces/insightface_format_sample/small_lfw.bin")
    for name in ("again.bin", "again.rec"):
        write_pair_set(tmp_path / name, sample.images, sample.is_same)
        again = read_pair_set(tmp_path / name)
        assert again.images == sample.images
        assert again.is_same.tolist() == sample.is_same.tolist()
