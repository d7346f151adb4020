"""Parquet with image bytes."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.parquet import ParquetSource

ROWS = 1000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "faces.parquet"
    images = [b"%d" % number * 50 for number in range(ROWS)]
    people = [f"p{number // 10}" for number in range(ROWS)]
    pq.write_table(
        pa.table({"image": pa.array(images, pa.binary()), "identity": people, "name": list(range(ROWS))}),
        path,
        row_group_size=300,
        use_dictionary=False,
        write_page_checksum=True,
    )
    return path


def test_every_row_in_any_order_and_from_threads(path):
    source = ParquetSource(path, key_column="name")
    order = np.random.default_rng(0).permutation(ROWS)
    with ThreadPoolExecutor(4) as pool:
        for index, face in zip(order, pool.map(source.read, order), strict=True):
            assert face.encoded == b"%d" % index * 50
    assert [source.key(i) for i in (0, 999)] == ["0", "999"]
    assert [source.identity(i) for i in (0, 10, 999)] == ["p0", "p1", "p99"]
    assert source.names_are_people
    again = pickle.loads(pickle.dumps(source))
    assert again.read(299).encoded == source.read(299).encoded
    assert ParquetSource(path, labeled=False).identity(0) is None
    assert ParquetSource(path).key(5) == "00000005"


def test_missing_values_and_labels_that_cannot_be(tmp_path):
    table = pa.table(
        {
            "image": pa.array([b"x", None, b"z", b"u", b"v"], pa.large_binary()),
            "identity": [1.0, None, float("nan"), -2.0, 2.5],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(tmp_path / "a.parquet")
    assert (source.identity(0), source.identity(1)) == ("1", None)
    with pytest.raises(LafsError, match="empty"):
        source.read(1)
    for index, reason in ((2, "nan"), (3, "negative"), (4, "whole")):
        with pytest.raises(LafsError, match=reason):
            source.identity(index)


def test_text_that_is_not_utf8_and_keys_that_are_there_twice(tmp_path):
    names = pa.array([b"caf\xe9", b"a", b"a"], pa.binary())
    table = pa.table(
        {"image": pa.array([b"1", b"2", b"3"], pa.binary()), "identity": names.cast(pa.string(), safe=False)}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(tmp_path / "a.parquet", key_column="identity")
    assert [source.key(i) for i in range(3)] == ["caf\\xe9", "a", "a#2"]


def test_damaged_rows_leave_the_other_row_groups(path, tmp_path):
    data = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    middle = group.data_page_offset + group.total_compressed_size // 2
    data[middle : middle + 8] = bytes(8)
    (tmp_path / "a.parquet").write_bytes(data)
    source = ParquetSource(tmp_path / "a.parquet")
    assert source.read(299).encoded == b"299" * 50
    assert source.read(600).encoded == b"600" * 50
    with pytest.raises(LafsError, match=r"a\.parquet, row group 1 is damaged"):
        source.read(500)


def test_files_and_columns_that_will_not_do(path, tmp_path):
    for cut in (0, 3, 1000, path.stat().st_size - 5):
        (tmp_path / "a.parquet").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(LafsError, match=r"a\.parquet is not a Parquet file or is damaged"):
            ParquetSource(tmp_path / "a.parquet")
    for options, reason in (
        ({"image_column": "photo"}, "no column 'photo' for images; its columns are image, identity, name"),
        ({"image_column": "identity"}, "of type string, expected the bytes"),
        ({"identity_column": "who"}, "no column 'who'"),
    ):
        with pytest.raises(LafsError, match=reason):
            ParquetSource(path, **options)
