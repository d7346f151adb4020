"""Sources: what they list, in which order, and what they say about bad paths."""

import os
import pickle
import struct

import numpy as np
import pytest
from tests.sources.listings import listing, touch

from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.open import SourceSettings, open_source
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.source import shard_paths
from lafs_pipeline.sources.synthetic.faces import draw_face


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
    assert {identity for _, identity in listing(FolderSource(tmp_path, labeled=False))} == {None}


def test_what_systems_and_editors_leave_is_passed_over(tmp_path):
    for name in ("a/1.jpg", "a/.ipynb_checkpoints/1.jpg", "a/@eaDir/1.jpg", "__MACOSX/a/1.jpg", "a/._1.jpg"):
        touch(tmp_path / name)
    assert listing(FolderSource(tmp_path)) == [("a/1.jpg", "a")]
    for name, files in (("x.rec", ".rec"), ("x.tar", ".tar"), ("x.parquet", ".parquet")):
        touch(tmp_path / name)
        touch(tmp_path / f"._{name}")
        assert shard_paths(str(tmp_path), files) == [tmp_path / name]
        assert shard_paths(f"{tmp_path}/*{files}", files) == [tmp_path / name]


def test_images_of_other_formats_are_listed_with_the_reason(tmp_path):
    for name in ("a/1.jpg", "a/2.HEIC", "b/3.gif", "b/notes.txt"):
        touch(tmp_path / name)
    source = FolderSource(tmp_path)
    assert [key for key, _ in listing(source)] == ["a/1.jpg", "a/2.HEIC", "b/3.gif"]
    with pytest.raises(LafsError, match=r"\.heic files are not read; convert it to JPEG or PNG"):
        source.read(1)


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


def test_composed_and_decomposed_names_are_one_person(tmp_path):
    touch(tmp_path / "Jose\u0301" / "1.jpg", b"nfd")
    touch(tmp_path / "Jos\u00e9" / "1.jpg", b"nfc")
    touch(tmp_path / "Jos\u00e9" / "2.jpg")
    source = FolderSource(tmp_path)
    keys, people = zip(*listing(source), strict=True)
    assert set(people) == {"Jos\u00e9"}
    assert len(set(keys)) == 3
    assert {source.read(index).encoded for index in range(2)} == {b"nfd", b"nfc"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folders_that_cannot_be_listed_are_named(tmp_path):
    touch(tmp_path / "a" / "1.jpg")
    touch(tmp_path / "b" / "1.jpg")
    (tmp_path / "b").chmod(0)
    source = FolderSource(tmp_path)
    assert [key for key, _ in listing(source)] == ["a/1.jpg", "b"]
    with pytest.raises(LafsError):
        source.read(1)


def test_things_that_are_not_files(tmp_path):
    touch(tmp_path / "a" / "1.jpg")
    os.mkfifo(tmp_path / "a" / "2.jpg")
    (tmp_path / "a" / "3.jpg").symlink_to("/dev/zero")
    (tmp_path / "a" / "4.jpg").symlink_to(tmp_path / "a" / "4.jpg")
    source = FolderSource(tmp_path)
    assert len(source) == 4
    for index in (1, 2, 3):
        with pytest.raises(LafsError, match=r"not an ordinary file|cannot be read"):
            source.read(index)


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
    assert listing(RecordIOSource(tmp_path / "train.rec", labeled=False)) == [("1", None), ("2", None)]


def write_shard(path, labels) -> None:
    with RecordIOWriter(path) as writer:
        for key, label in enumerate(labels):
            writer.write_image(key, b"%s %d" % (path.stem.encode(), key), label)


def test_recordio_shards(tmp_path):
    write_shard(tmp_path / "b.rec", [1, 2])
    write_shard(tmp_path / "a.rec", [2])
    expected = [("a.rec/0", "2"), ("b.rec/0", "1"), ("b.rec/1", "2")]
    for path in (str(tmp_path), f"{tmp_path}/*.rec", [str(tmp_path / "a.rec"), str(tmp_path / "b.rec")]):
        source = pickle.loads(pickle.dumps(RecordIOSource(path)))
        assert listing(source) == expected
        assert [source.read(i).encoded for i in range(3)] == [b"a 0", b"b 0", b"b 1"]
        assert source.location(2) == (tmp_path / "b.rec", 1, 36)


def test_labels_that_cannot_be(tmp_path):
    write_shard(tmp_path / "a.rec", [1, float("nan"), float("inf"), -1, 0.5, 2])
    source = RecordIOSource(tmp_path / "a.rec")
    assert (source.identity(0), source.identity(5)) == ("1", "2")
    for index in range(1, 5):
        with pytest.raises(LafsError, match="its label"):
            source.identity(index)


def test_record_0_that_is_damaged_costs_no_image(tmp_path, caplog):
    with RecordIOWriter(tmp_path / "train.rec") as writer:
        writer.write_image(0, b"", [3, 4])
        writer.write_image(1, b"one", 0)
        writer.write_image(2, b"two", 0)
        writer.write_image(3, b"", [1, 3])
    data = bytearray((tmp_path / "train.rec").read_bytes())
    for change in (b"\0\0\0\0", struct.pack("<f", 2.0), struct.pack("<f", float("nan"))):
        place = 0 if change == b"\0\0\0\0" else 8 + 24
        (tmp_path / "train.rec").write_bytes(data[:place] + change + data[place + 4 :])
        caplog.clear()
        assert listing(RecordIOSource(tmp_path / "train.rec")) == [("1", "0"), ("2", "0")]
        assert "record 0 is damaged" in caplog.text


def test_an_index_that_ends_early_is_reported(tmp_path, caplog):
    write_shard(tmp_path / "a.rec", [1, 2, 3])
    index = tmp_path / "a.idx"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:2]))
    assert len(RecordIOSource(tmp_path / "a.rec")) == 2
    assert "the index ends 36 bytes before the file" in caplog.text
    index.rename(tmp_path / "old.idx")
    assert len(RecordIOSource(tmp_path / "a.rec")) == 3


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
        ({"kind": "folder"}, "Source 'mine': `path` is not set"),
        (
            {"kind": "folder", "path": "nowhere"},
            "'mine': Image folder .*/nowhere does not",
        ),
        ({"kind": "folder", "path": "a.zip"}, r"a\.zip is a file, no folder of images; unpack it"),
        ({"kind": "folder", "path": "."}, "Source 'mine': Folder .* holds no images"),
        (
            {"kind": "recordio", "path": "a.rec"},
            r"Source 'mine': .*/a\.rec does not exist; expected a \.rec file",
        ),
    ],
)
def test_bad_paths(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.zip").touch()
    with pytest.raises(LafsError, match=message):
        open_source("mine", SourceSettings(**settings), 0)


def test_paths_in_the_home_folder_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = SourceSettings(kind="tar", path=["~/a.tar", "/b.tar"], points="~/points.csv", detector=None)
    assert settings.path == [f"{tmp_path}/a.tar", "/b.tar"]
    assert settings.points == f"{tmp_path}/points.csv"
    with pytest.raises(LafsError, match=r"`detector` is s3://bucket/yunet\.onnx: it must be a local path"):
        SourceSettings(detector="s3://bucket/yunet.onnx")
