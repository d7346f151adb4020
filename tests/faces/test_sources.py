"""Sources: what they list, in which order, and what they say about bad paths."""

import os
import pickle

import numpy as np
import pytest

from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.faces.recordio import RecordIOWriter
from lafs_pipeline.faces.sources import FolderSource, RecordIOSource, SourceSettings, open_source
from lafs_pipeline.faces.synthetic import draw_face
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed


def listing(source) -> list[tuple[str, str | None]]:
    return [(source.key(index), source.identity(index)) for index in range(len(source))]


def touch(path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_folder_listing(tmp_path):
    for name in (
        "b/2.JPG",
        "b/1.png",
        "Zoë Ö/1.jpg",
        "loose.webp",
        "b/notes.txt",
        "b/.hidden.jpg",
        "a/deep/1.pgm",
    ):
        touch(tmp_path / name, name.encode())
    source = pickle.loads(pickle.dumps(FolderSource(tmp_path)))
    assert listing(source) == [
        ("Zoë Ö/1.jpg", "Zoë Ö"),
        ("a/deep/1.pgm", "a/deep"),
        ("b/1.png", "b"),
        ("b/2.JPG", "b"),
        ("loose.webp", None),
    ]
    assert source.read(2).encoded == b"b/1.png"
    assert {identity for _, identity in listing(FolderSource(tmp_path, labelled=False))} == {None}


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path / "elsewhere" / "1.jpg")
    touch(tmp_path / "faces" / "a" / "1.jpg")
    (tmp_path / "faces" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "faces" / "a" / "circle").symlink_to(tmp_path / "faces")
    (tmp_path / "faces" / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = FolderSource(tmp_path / "faces")
    assert [key for key, _ in listing(source)] == ["a/1.jpg", "a/dangling.jpg", "b/1.jpg"]
    with pytest.raises(LafsError, match="cannot be read"):
        source.read(1)


def test_names_that_are_not_utf8(tmp_path):
    touch(tmp_path / os.fsdecode(b"caf\xe9") / "1.jpg", b"bytes")
    source = FolderSource(tmp_path)
    assert listing(source) == [("caf\\xe9/1.jpg", "caf\\xe9")]
    assert source.read(0).encoded == b"bytes"


@pytest.mark.parametrize("prefix", ["", "faces/"])
def test_points_file(tmp_path, prefix):
    """Names relative to the folder, or to the CSV."""
    touch(tmp_path / "faces" / "a" / "1.jpg")
    touch(tmp_path / "faces" / "a" / "2.jpg")
    csv = tmp_path / "points.csv"
    csv.write_text(f"file,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n{prefix}a/1.jpg,1,2,3,4,5,6,7,8,9,10.5\n")
    source = FolderSource(tmp_path / "faces", points=csv)
    assert source.read(0).points.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]
    assert source.read(1).points is None


@pytest.mark.parametrize("text", ["", "file,x1\na,1\n", "file,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\na" + ",z" * 10])
def test_bad_points_file(tmp_path, text):
    touch(tmp_path / "1.jpg")
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(LafsError, match=r"points file .*points\.csv"):
        FolderSource(tmp_path, points=tmp_path / "points.csv")


def test_recordio_source(tmp_path):
    with RecordIOWriter(tmp_path / "train.rec") as writer:
        writer.write_image(0, b"", [3, 5])
        writer.write_image(1, b"one", 12)
        writer.write_image(2, b"two", [7, 0.5])
        writer.write_image(3, b"", [1, 2])
        writer.write_image(4, b"", [2, 3])
    source = pickle.loads(pickle.dumps(RecordIOSource(tmp_path / "train.rec")))
    assert listing(source) == [("1", "12"), ("2", "7")]
    assert source.read(1).encoded == b"two"
    assert listing(RecordIOSource(tmp_path / "train.rec", labelled=False)) == [("1", None), ("2", None)]


def test_synthetic_source_draws_what_its_seed_and_name_say():
    settings = SourceSettings(kind="synthetic", identities=3, images_per_identity=2)
    source = open_source("people", settings, 5)
    assert len(set(listing(source))) == len(source) == 6
    assert [identity for _, identity in listing(source)] == [
        "000000",
        "000000",
        "000001",
        "000001",
        "000002",
        "000002",
    ]
    expected = draw_face(derive_seed(5, "people"), 1, 1)
    found = source.read(3)
    np.testing.assert_array_equal(decode_image(found.encoded), expected.image)
    np.testing.assert_array_equal(found.points, expected.points)
    assert open_source("others", settings, 5).read(3).encoded != found.encoded


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SourceSettings(kind="folder"), "Source 'mine': `path` is not set"),
        (SourceSettings(kind="folder", path="nowhere"), "Source 'mine': Image folder nowhere does not exist"),
        (SourceSettings(kind="folder", path="."), "Source 'mine': Folder . holds no images"),
        (
            SourceSettings(kind="recordio", path="a.rec"),
            r"Source 'mine': RecordIO index a\.idx does not exist",
        ),
    ],
)
def test_bad_paths(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LafsError, match=message):
        open_source("mine", settings, 0)
