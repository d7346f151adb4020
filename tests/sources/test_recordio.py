"""RecordIO against a minimal parser of the format that shares nothing with the reader."""

import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOReader, RecordIOWriter

MAGIC = bytes.fromhex("0a23d7ce")
payloads = st.lists(
    st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=6).map(b"".join),
    min_size=1,
    max_size=5,
)


def parse(data: bytes) -> list[bytes]:
    """Every record of a RecordIO file, read from front to back."""
    records, position, pending = [], 0, None
    while position < len(data):
        assert data[position : position + 4] == MAGIC
        (word,) = struct.unpack("<I", data[position + 4 : position + 8])
        flag, length = word >> 29, word & 0x1FFFFFFF
        body = data[position + 8 : position + 8 + length]
        assert len(body) == length
        position += 8 + (length + 3) // 4 * 4
        if flag in (0, 1):
            assert pending is None
            pending = body
        else:
            pending += MAGIC + body
        if flag in (0, 3):
            records.append(pending)
            pending = None
    assert pending is None
    return records


def write(path, records: dict[int, bytes]) -> None:
    with RecordIOWriter(path) as writer:
        for key, payload in records.items():
            writer.write(key, payload)


@given(payloads)
def test_round_trip_with_magic_words(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("rec") / "a.rec"
    write(path, {3 * number: payload for number, payload in enumerate(records)})
    assert parse(path.read_bytes()) == records
    reader = pickle.loads(pickle.dumps(RecordIOReader(path)))
    assert [reader.read(key) for key in reader.keys] == records


def test_bytes_of_a_split_record(tmp_path):
    write(tmp_path / "a.rec", {7: b"abcd" + MAGIC + b"ef" + MAGIC})
    expected = MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd" + MAGIC + struct.pack("<I", 3 << 29 | 6)
    assert (tmp_path / "a.rec").read_bytes() == expected + b"ef" + MAGIC + b"\0\0"
    assert (tmp_path / "a.idx").read_text() == "7\t0\n"


def test_keys_in_any_order(tmp_path):
    write(tmp_path / "a.rec", {9: b"nine", 2: b"two", 5: b"five"})
    reader = RecordIOReader(tmp_path / "a.rec")
    assert [reader.read(key) for key in (2, 5, 9)] == [b"two", b"five", b"nine"]
    with pytest.raises(LafsError, match="no record 10"):
        reader.read(10)


def test_insightface_layout(tmp_path):
    """Record 0 names the identity records, which name the images; labels lie before the image."""
    with RecordIOWriter(tmp_path / "train.rec") as writer:
        writer.write_image(0, b"", [4, 6])
        for key, label in ((1, 0.0), (2, 0.0), (3, 1.0)):
            writer.write_image(key, b"image%d" % key, label)
        writer.write_image(4, b"", [1, 3])
        writer.write_image(5, b"", [3, 4])
    records = parse((tmp_path / "train.rec").read_bytes())
    assert records[0] == struct.pack("<IfQQff", 2, 0, 0, 0, 4, 6)
    assert records[3] == struct.pack("<IfQQ", 0, 1, 0, 0) + b"image3"
    reader = RecordIOReader(tmp_path / "train.rec")
    assert reader.image_keys().tolist() == [1, 2, 3]
    assert [reader.read_labels(key)[0] for key in (1, 2, 3)] == [0, 0, 1]
    labels, encoded = reader.read_image(5)
    assert labels.tolist() == [3, 4]
    assert encoded == b""


def test_plain_layout_has_an_image_for_every_key(tmp_path):
    with RecordIOWriter(tmp_path / "a.rec") as writer:
        for key in range(3):
            writer.write_image(key, b"image", key)
    assert RecordIOReader(tmp_path / "a.rec").image_keys().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-4], "record 1 is damaged: it should end at byte"),
        (lambda data: data[:24], "record 1 is damaged: it should start at byte"),
        (lambda data: data[:24] + b"\0" + data[25:], "record 1 is damaged: no record starts"),
        (lambda data: data[:31] + b"\xff" + data[32:], "record 1 is damaged: no record starts"),
        (lambda data: data[:31] + b"\x20" + data[32:], "record 1 is damaged: it should start at byte"),
    ],
)
def test_damaged_records_are_named(tmp_path, damage, message):
    path = tmp_path / "a.rec"
    write(path, {0: b"x" * 16, 1: b"y" * 16})
    path.write_bytes(damage(path.read_bytes()))
    reader = RecordIOReader(path)
    assert reader.read(0) == b"x" * 16
    with pytest.raises(LafsError, match=message) as caught:
        reader.read(1)
    assert str(path) in str(caught.value)


def test_damaged_image_headers_are_named(tmp_path):
    path = tmp_path / "a.rec"
    write(path, {0: b"short", 1: struct.pack("<IfQQ", 4_000_000_000, 0, 0, 0)})
    reader = RecordIOReader(path)
    for key in (0, 1):
        with pytest.raises(LafsError, match=f"record {key} is damaged"):
            reader.read_image(key)
        with pytest.raises(LafsError, match=f"record {key} is damaged"):
            reader.read_labels(key)


@pytest.mark.parametrize(
    "index",
    [
        "0\t0\nx\ty\n",
        "0\n",
        "0\t0\n0\t24\n",
        "0\t0\t0\n",
        "0\t1.5\n",
        "0\t\n",
        "",
        "0\t99999999999999999999\n",
    ],
)
def test_bad_index(tmp_path, index):
    write(tmp_path / "a.rec", {0: b"x"})
    (tmp_path / "a.idx").write_text(index)
    with pytest.raises(LafsError, match=r"a\.idx"):
        RecordIOReader(tmp_path / "a.rec")


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(LafsError, match=r"a\.rec does not exist"):
        RecordIOReader(tmp_path / "a.rec")
    (tmp_path / "a.rec").write_bytes(b"")
    with pytest.raises(LafsError, match="is empty"):
        RecordIOReader(tmp_path / "a.rec")
    (tmp_path / "a.rec").write_bytes(b"x")
    with pytest.raises(LafsError, match=r"index .*b\.idx does not exist"):
        RecordIOReader(tmp_path / "a.rec", index=tmp_path / "b.idx")


def test_nothing_is_left_when_writing_fails(tmp_path):
    path = tmp_path / "a.rec"
    write(path, {0: b"old"})

    def write_twice() -> None:
        with RecordIOWriter(path) as writer:
            writer.write(1, b"new")
            writer.write(1, b"new")

    with pytest.raises(LafsError, match="written twice"):
        write_twice()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    assert RecordIOReader(path).read(0) == b"old"


def test_labels_survive_float32(tmp_path):
    with RecordIOWriter(tmp_path / "a.rec") as writer:
        writer.write_image(0, b"image", 2_059_905)
    assert RecordIOReader(tmp_path / "a.rec").read_labels(0) == np.float32(2_059_905)


@given(payloads)
def test_a_scan_finds_every_record(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("rec") / "a.rec"
    write(path, dict(enumerate(records)))
    expected = RecordIOReader(path).offsets
    path.with_suffix(".idx").unlink()
    found = RecordIOReader(path)
    np.testing.assert_array_equal(found.offsets, expected)
    assert [found.read(key) for key in found.keys] == records


def test_a_rebuilt_index_is_kept_elsewhere_and_made_anew_for_another_file(tmp_path):
    path, kept = tmp_path / "data" / "a.rec", tmp_path / "out"
    write(path, {0: b"zero", 1: b"one"})
    path.with_suffix(".idx").unlink()
    assert RecordIOReader(path, index_folder=kept).read(1) == b"one"
    assert [file.name for file in path.parent.iterdir()] == ["a.rec"]
    (index,) = kept.iterdir()
    assert index.read_text() == "0\t0\n1\t12\n"
    index.write_text("5\t12\n")
    reader = pickle.loads(pickle.dumps(RecordIOReader(path, index_folder=kept)))
    assert reader.keys.tolist() == [5]
    write(path, {0: b"zero", 1: b"one", 2: b"two"})
    path.with_suffix(".idx").unlink()
    assert len(RecordIOReader(path, index_folder=kept)) == 3


def test_a_scan_goes_on_behind_damage(tmp_path):
    path = tmp_path / "a.rec"
    write(path, {key: bytes([key]) * (16 + 4 * (key % 3)) for key in range(8)})
    offsets = RecordIOReader(path).offsets
    path.with_suffix(".idx").unlink()
    data = bytearray(path.read_bytes())
    data[offsets[1]] ^= 1  # a magic word
    data[offsets[3] + 5] = 1  # a length beyond the file
    data[offsets[5] + 4] -= 8  # a length that is too short
    path.write_bytes(data)
    reader = RecordIOReader(path)
    np.testing.assert_array_equal(reader.offsets, offsets)
    for key in range(8):
        if key in (1, 3, 5):
            with pytest.raises(LafsError, match=f"record {key} is damaged"):
                reader.read(key)
        else:
            assert reader.read(key) == bytes([key]) * (16 + 4 * (key % 3))


def test_offsets_that_cannot_be(tmp_path):
    path = tmp_path / "a.rec"
    write(path, {0: b"zero", 1: b"one.", 2: b"two.", 3: b"four"})
    path.with_suffix(".idx").write_text("0\t0\n1\t-4\n2\t99999999999\n3\t0\n4\t26\n5\t36\n")
    reader = RecordIOReader(path)
    assert reader.read(5) == b"four"
    for key, reason in ((0, "several records"), (1, "start"), (2, "start"), (3, "several"), (4, "no record")):
        with pytest.raises(LafsError, match=rf"a\.rec, record {key}.*{reason}"):
            reader.read(key)


def test_a_full_disk_and_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LafsError, match="cannot be written"), RecordIOWriter(tmp_path / "file" / "a.rec"):
        pass
    program = f"""
import resource
from lafs_pipeline.sources.recordio import RecordIOWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
with RecordIOWriter({str(tmp_path / "a.rec")!r}) as writer:
    for key in range(100):
        writer.write(key, bytes(1000))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "LafsError" in found.stderr.splitlines()[-1]
    assert "a.rec cannot be written (File too large)" in found.stderr.splitlines()[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_labels_that_float32_cannot_hold(tmp_path):
    with pytest.raises(LafsError, match="not exact in float32"), RecordIOWriter(tmp_path / "a.rec") as writer:
        writer.write_image(0, b"image", 2**24 + 1)
