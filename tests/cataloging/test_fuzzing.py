"""Damaged RecordIO, index, tar and `.bin` files: a record is refused with a reason or is what was written.

The formats have no checksum over the content of a record: where damage lies inside an image, its length is
what can be asked for, and where damage joins parts of records to a record of right form, that form. Records
whose own bytes are sound are read, whatever happened to the others; without an index, the header that follows
must be sound too, for only it tells that the length is right.
"""

import io
import json
import os
import pickle
import resource
import struct
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lafs_pipeline.protocols.pair_sets import read_pair_set
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.recordio import RecordIOReader, RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.tar import TarSource

MAGIC = struct.pack("<I", 0xCED7230A)
RNG = np.random.default_rng(0)
Damage = Callable[[bytes], bytes]

places = st.floats(0, 1, exclude_max=True)
pieces = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.sampled_from(
        [MAGIC, bytes(8), b"\xff" * 4, MAGIC + b"\x10\0\0\0", b"ustar", b"\t", b"\n", b"-", b"9" * 12]
    ),
    st.integers(0, 40).map(lambda length: bytes(length * 16)),
)
in_place = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("write"), places, pieces),
)
any_edit = st.one_of(
    in_place,
    st.tuples(st.just("cut"), places, st.integers(1, 600)),
    st.tuples(st.just("insert"), places, pieces),
    st.tuples(st.just("end"), places, st.none()),
    st.tuples(st.just("repeat"), places, st.integers(1, 600)),
)
edits = st.one_of(st.lists(in_place, min_size=1, max_size=4), st.lists(any_edit, min_size=1, max_size=4))


def apply(data: bytes, changes: list[tuple]) -> bytes:
    for kind, place, value in changes:
        at = int(place * len(data))
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ 1 << value]) + data[at + 1 :]
        elif kind == "write":
            data = data[:at] + value[: len(data) - at] + data[at + len(value) :]
        elif kind == "cut":
            data = data[:at] + data[at + value :]
        elif kind == "insert":
            data = data[:at] + value + data[at:]
        elif kind == "end":
            data = data[:at]
        elif kind == "repeat":
            data = data[:at] + data[at : at + value] + data[at:]
    return data


def outcome(read: Callable[[], bytes]) -> bytes | None:
    """What is read, None where it is refused."""
    try:
        return read()
    except LafsError:
        return None


# RecordIO: InsightFace's layout with payloads of different lengths, some with magic words.
IMAGES = [RNG.bytes(30 + 7 * number) for number in range(8)]
IMAGES[2] = IMAGES[2][:20] + MAGIC + IMAGES[2][20:] + MAGIC
IMAGES[5] = MAGIC * 3


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> tuple[Path, bytes, str]:
    path = tmp_path_factory.mktemp("fuzz") / "train.rec"
    with RecordIOWriter(path) as writer:
        writer.write_image(0, b"", [9.0, 11.0])
        for key, image in enumerate(IMAGES, 1):
            writer.write_image(key, image, float(key > 4))
        writer.write_image(9, b"", [1.0, 5.0])
        writer.write_image(10, b"", [5.0, 9.0])
    return path, path.read_bytes(), path.with_suffix(".idx").read_text()


def check_records(packed, changes, with_index: bool) -> None:
    path, data, index = packed
    damaged = apply(data, changes)
    path.write_bytes(damaged)
    if with_index:
        path.with_suffix(".idx").write_text(index)
    else:
        path.with_suffix(".idx").unlink(missing_ok=True)
    offsets = [int(line.split("\t")[1]) for line in index.splitlines()] + [len(data)]
    regions = [(data[a:b], damaged[a:b]) for a, b in pairwise(offsets)]
    lengths = {len(payload) for payload in PAYLOADS}
    try:
        reader = RecordIOReader(path)
        source = RecordIOSource(path)
    except LafsError:
        assert len(damaged) != len(data) or all(before != after for before, after in regions[1:9])
        return
    found = {int(key): outcome(lambda key=key: reader.read(key)) for key in reader.keys}
    for key, payload in found.items():
        if payload is None or payload in PAYLOADS:
            continue
        assert payload == parse_at(damaged, reader.offset(key))
        if not forged(changes):
            assert len(payload) in lengths or without_padding(payload) in map(without_padding, PAYLOADS)
    if len(damaged) == len(data):
        for key, (before, after) in enumerate(regions):
            end = offsets[key + 1]
            if before != after:
                continue
            if with_index:
                assert found[key] == PAYLOADS[key]
            elif data[end : end + 8] == damaged[end : end + 8]:
                assert PAYLOADS[key] in found.values()
    for index_ in range(len(source)):
        outcome(lambda index_=index_: source.read(index_).encoded)
        outcome(lambda index_=index_: source.identity(index_))


def parse_at(data: bytes, position: int) -> bytes:
    """The record at a place by the format's description, which the reader shares nothing with."""
    payload, flag = b"", 1
    while flag in (1, 2):
        magic, word = struct.unpack_from("<4sI", data, position)
        flag, length = word >> 29, word & 0x1FFFFFFF
        assert magic == MAGIC
        assert flag in ((2, 3) if payload else (0, 1))
        body = data[position + 8 : position + 8 + length]
        assert len(body) == length
        payload += MAGIC * (flag in (2, 3)) + body
        position += 8 + length + (-length % 4)
    return payload


def forged(changes: list[tuple]) -> bool:
    """Whether damage puts parts of records together or writes what a record begins with."""
    return any(
        kind not in ("flip", "write") or (kind == "write" and MAGIC in value) for kind, _, value in changes
    )


def without_padding(payload: bytes) -> bytes:
    return payload.rstrip(b"\0")


def header(label: float, *labels: float) -> bytes:
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), label, 0, 0, *labels)


PAYLOADS = [
    header(0, 9, 11),
    *[header(key > 4) + image for key, image in enumerate(IMAGES, 1)],
    header(0, 1, 5),
    header(0, 5, 9),
]


def records_with_index(packed, changes) -> None:
    check_records(packed, changes, with_index=True)


def records_without_index(packed, changes) -> None:
    check_records(packed, changes, with_index=False)


def indexes(packed, changes) -> None:
    """Whatever the index says, a key gives one whole record, and no record under two keys."""
    path, data, index = packed
    path.write_bytes(data)
    path.with_suffix(".idx").write_bytes(apply(index.encode(), changes))
    try:
        reader = RecordIOReader(path)
    except LafsError:
        return
    found = [outcome(lambda key=key: reader.read(key)) for key in reader.keys]
    read = [payload for payload in found if payload is not None]
    assert all(payload in PAYLOADS for payload in read)
    assert len(set(read)) == len(read)


# Tar: every kind of header, labels beside images, contents of different lengths.
def make_tar() -> tuple[bytes, dict[str, bytes]]:
    stream = io.BytesIO()
    images = {}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as shard:
        for number in range(6):
            name = f"{'long/' * 60 * (number == 2)}s/{number}{'é' * (number == 3)}.jpg"
            label = (
                [f"{number}.cls", b"7"]
                if number % 2
                else [f"{number}.json", json.dumps({"identity": "A"}).encode()]
            )
            images[name] = RNG.bytes(200 + 301 * number)
            for file, content in ((name, images[name]), (f"s/{label[0]}", label[1])):
                member = tarfile.TarInfo(file)
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return stream.getvalue(), images


TAR, TAR_IMAGES = make_tar()
HEADERS = {TAR[at : at + 512] for at in range(0, len(TAR), 512)}
with tarfile.open(fileobj=io.BytesIO(TAR)) as _tar:
    TAR_PLACES = {member.name: (member.offset, member.offset_data, member.size) for member in _tar}


def tars(packed, changes) -> None:
    path = packed[0].with_suffix(".tar")
    damaged = apply(TAR, changes)
    path.write_bytes(damaged)
    try:
        source = TarSource(path)
    except LafsError:
        assert len(damaged) != len(TAR) or damaged != TAR
        return
    lengths = set(map(len, TAR_IMAGES.values()))
    found = {}
    for index in range(len(source)):
        outcome(lambda index=index: source.identity(index))
        content = outcome(lambda index=index: source.read(index).encoded)
        if content is None:
            continue
        found[source.key(index)] = content
        place = source._offsets[index]
        sum_of_header_still_right = damaged[place - 512 : place] not in HEADERS
        assert content in TAR_IMAGES.values() or len(content) in lengths or sum_of_header_still_right
    if len(damaged) == len(TAR):
        for name, content in TAR_IMAGES.items():
            start, data, size = TAR_PLACES[name]
            if damaged[start : data + size] == TAR[start : data + size] and start:
                assert found[name] == content


# Pair sets: every way to pickle them, and hostile ones.
class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


BINS = [
    pickle.dumps((images, is_same), protocol)
    for protocol in range(6)
    for images in (IMAGES, [np.frombuffer(i, np.uint8) for i in IMAGES], [bytearray(i) for i in IMAGES])
    for is_same in ([True, False] * 2, np.array([True, False] * 2))
] + [
    pickle.dumps(([Hostile(os.mkdir, "lafs-fuzzing-must-not-exist")] * 8, [True] * 4)),
    pickle.dumps(([Hostile(bytes, 1 << 33)] * 8, [True] * 4)),
    pickle.dumps(([Hostile(eval, "open('lafs-fuzzing-must-not-exist', 'w')")] * 8, [True] * 4)),
]
CODE_RUNS = ("exec", "compile", "os.", "subprocess.", "shutil.", "socket.", "ctypes.", "import")
watch: dict[str, list | None] = {"events": None}


def _audit(event: str, arguments: tuple) -> None:
    if watch["events"] is not None and event.startswith(CODE_RUNS):
        watch["events"].append((event, str(arguments)[:200]))


sys.addaudithook(_audit)


def bins(packed, changes, number) -> None:
    path = packed[0].with_suffix(".bin")
    data = BINS[number % len(BINS)]
    damaged = apply(data, changes)
    path.write_bytes(damaged)
    watch["events"] = []
    try:
        found = read_pair_set(path)
    except LafsError:
        pass
    else:
        assert len(found.images) == 2 * len(found.is_same) > 0
        assert found.is_same.dtype == bool
        assert all(type(image) is bytes and image for image in found.images)
        assert max(map(len, found.images)) <= len(damaged)
    finally:
        events, watch["events"] = watch["events"], None
    assert not [event for event in events if "encodings" not in event[1]]


@pytest.mark.parametrize(
    "examples", [pytest.param(150, id="some"), pytest.param(5000, id="all", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("check", [records_with_index, records_without_index, indexes, tars, bins])
def test_damaged_files(check, examples, packed):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = {"changes": edits} | ({"number": st.integers(0, 999)} if check is bins else {})
    count = 0

    def counted(**drawn):
        nonlocal count
        count += 1
        check(packed, **drawn)

    strict = settings(
        max_examples=examples,
        deadline=timedelta(seconds=30),
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    strict(given(**names)(counted))()
    assert count >= examples
    assert not Path("lafs-fuzzing-must-not-exist").exists()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300
