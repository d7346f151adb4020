"""Tar shards against the standard library's writer."""

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.tar import TarSource


def write_tar(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind, encoding="utf-8", errors="surrogateescape") as shard:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def listing(source: TarSource) -> list[tuple[str, str | None, bytes]]:
    return [(source.key(i), source.identity(i), source.read(i).encoded) for i in range(len(source))]


def test_labels_and_folders(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        {
            "s/1.jpg": b"one",
            "s/1.cls": b"7\n",
            "s/2.seg.png": b"two",
            "s/2.json": json.dumps({"identity": "Ann", "age": 3}).encode(),
            "s/3.jpg": b"three",
            "s/3.json": b'{"other": 1}',
            "4.jpg": b"four",
            "./Bo/5.JPG": b"five",
            "Bo/notes.txt": b"text",
            "Bo/._5.jpg": b"resource fork",
        },
    )
    source = TarSource(path)
    assert listing(source) == [
        ("s/1.jpg", "7", b"one"),
        ("s/2.seg.png", "Ann", b"two"),
        ("s/3.jpg", "s", b"three"),
        ("4.jpg", None, b"four"),
        ("Bo/5.JPG", "Bo", b"five"),
    ]
    assert source.names_are_people
    assert listing(pickle.loads(pickle.dumps(source))) == listing(source)
    assert {identity for _, identity, _ in listing(TarSource(path, labeled=False))} == {None}
    assert TarSource(path, identity_field="other").identity(2) == "1"


def test_what_systems_leave_is_passed_over_and_other_formats_are_listed(tmp_path):
    files = dict.fromkeys(("./a/1.jpg", "a/._1.jpg", "__MACOSX/a/1.jpg", "a/._1.cls", "a/2.heic"), b"x")
    source = TarSource(write_tar(tmp_path / "x.tar", files))
    assert [source.key(index) for index in range(len(source))] == ["a/1.jpg", "a/2.heic"]
    with pytest.raises(LafsError, match=r"\.heic files are not read"):
        source.read(1)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_kind(tmp_path, kind):
    names = ["a/1.jpg", "Zoë/1.jpg", "x" * 90 + "/" + "y" * 90 + ".jpg"]
    if kind != tarfile.USTAR_FORMAT:
        names += ["d/" * 200 + "1.jpg", "e" * 3000 + ".jpg"]
    if kind == tarfile.GNU_FORMAT:
        names.append("caf\udce9/1.jpg")
    path = write_tar(tmp_path / "a.tar", {name: name.encode("utf-8", "replace") for name in names}, kind)
    source = TarSource(path)
    expected = [name.replace("\udce9", "\\xe9") for name in names]
    assert [source.key(i) for i in range(len(source))] == expected
    assert [source.read(i).encoded for i in range(len(source))] == [
        n.encode("utf-8", "replace") for n in names
    ]


def test_composed_and_decomposed_names_are_both_kept(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"e\u0301/1.jpg": b"nfd", "\u00e9/1.jpg": b"nfc"})
    assert listing(TarSource(path)) == [
        ("\u00e9/1.jpg", "\u00e9", b"nfd"),
        ("\u00e9/1.jpg#2", "\u00e9", b"nfc"),
    ]


def test_several_shards_and_several_put_together(tmp_path):
    first = write_tar(tmp_path / "0.tar", {"1.jpg": b"a"})
    second = write_tar(tmp_path / "1.tar", {"1.jpg": b"b"})
    shards = TarSource(f"{tmp_path}/[01].tar")
    assert [(key, data) for key, _, data in listing(shards)] == [("0.tar/1.jpg", b"a"), ("1.tar/1.jpg", b"b")]
    (tmp_path / "both.tar").write_bytes(first.read_bytes() + second.read_bytes())
    both = TarSource(tmp_path / "both.tar")
    assert [(key, data) for key, _, data in listing(both)] == [("1.jpg", b"a"), ("1.jpg#2", b"b")]


def test_points(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"Ann/1.jpg": b"a", "Ann/2.jpg": b"b"})
    (tmp_path / "points.txt").write_text("Ann/2.jpg 1 2 3 4 5 6 7 8 9 10 0.99\n")
    source = TarSource(path, points=tmp_path / "points.txt")
    assert source.read(0).points is None
    assert source.read(1).points.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (b"", "empty"),
        (b"-1", "negative"),
        (b"nan", "label is nan"),
        (b"1.5", "not a whole number"),
        (b"1" * 70_000, "no label"),
    ],
)
def test_labels_that_cannot_be(tmp_path, label, reason):
    source = TarSource(
        write_tar(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": label, "2.jpg": b"y", "2.cls": b"2"})
    )
    with pytest.raises(LafsError, match=rf"1\.cls beside it cannot be used: .*{reason}"):
        source.identity(0)
    assert source.identity(1) == "2"


@pytest.mark.parametrize(
    "label", [b"{", b"[" * 50_000, b"[1]", b'{"identity": [1]}', b'{"identity": NaN}', b"\xff"]
)
def test_json_that_cannot_be(tmp_path, label):
    source = TarSource(write_tar(tmp_path / "a.tar", {"1.json": label, "1.jpg": b"x"}))
    with pytest.raises(LafsError, match=r"1\.json beside it cannot be used"):
        source.identity(0)


def test_damage_costs_what_it_hits(tmp_path):
    files = {f"Ann/{number}.jpg": bytes([number]) * 700 for number in range(4)}
    path = write_tar(tmp_path / "a.tar", files)
    data = bytearray(path.read_bytes())
    data[1536 + 20] ^= 1
    path.write_bytes(data[:5300])
    source = TarSource(path)
    assert [source.key(i) for i in range(len(source))] == [
        "Ann/0.jpg",
        "bytes 1536 to 3072",
        "Ann/2.jpg",
        "Ann/3.jpg",
    ]
    assert source.read(2).encoded == bytes([2]) * 700
    for index, reason in ((1, "no header"), (3, "beyond the tar file")):
        with pytest.raises(LafsError, match=rf"a\.tar: .*{reason}"):
            source.read(index)


def test_links_and_lengths_that_lie(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as shard:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            shard.addfile(member)
        shard.addfile(tarfile.TarInfo("c.jpg"))
        for size in (1 << 40, -512):
            member = tarfile.TarInfo("d.jpg")
            member.size = size
            shard.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))
    source = TarSource(path)
    assert len(source) == 5
    assert source.read(2).encoded == b""
    for index in (0, 1, 3, 4):
        with pytest.raises(LafsError, match=r"link|beyond"):
            source.read(index)


def test_files_that_are_no_tar_files(tmp_path):
    whole = write_tar(tmp_path / "a.tar", {"notes.txt": b"x"})
    with pytest.raises(LafsError, match="there are no images"):
        TarSource(whole)
    for content, reason in (
        (b"", "is empty"),
        (b"x" * 5000, "not a tar file"),
        (gzip.compress(whole.read_bytes()), r"compressed \(gzip\)"),
    ):
        (tmp_path / "b.tar").write_bytes(content)
        with pytest.raises(LafsError, match=reason):
            TarSource(tmp_path / "b.tar")
    with pytest.raises(LafsError, match=r"c\.tar does not exist"):
        TarSource(tmp_path / "c.tar")


def test_a_file_that_became_shorter(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 5000})
    source = TarSource(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(LafsError, match="became shorter"):
        source.read(0)
