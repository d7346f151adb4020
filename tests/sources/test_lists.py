"""Sources that a list or a file of points describes."""

import pickle

import pytest
from tests.sources.listings import listing, touch

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.list import ListSource
from lafs_pipeline.sources.points import read_points

PARTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
OF_CELEBA = " ".join(f"{part}_{axis}" for part in PARTS for axis in "xy")


@pytest.mark.parametrize(
    "text",
    [
        "a/1.jpg Ann\nb c/2.jpg Bo\n/abs/3.jpg 7\n\n4.jpg\n",
        "a/1.jpg\tAnn\r\nb c/2.jpg\tBo\r\n/abs/3.jpg\t7\r\n4.jpg\r\n",
        "a/1.jpg,Ann\nb c/2.jpg,Bo\n/abs/3.jpg,7\n4.jpg\n",
        "\ufefffile,age,identity\na/1.jpg,1,Ann\nb c/2.jpg,2,Bo\n/abs/3.jpg,3,7\n4.jpg,4,\n",
    ],
    ids=["blanks", "tabs", "commas", "heading"],
)
def test_list_forms(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, newline="")
    touch(tmp_path / "faces" / "b c" / "2.jpg", b"two")
    source = pickle.loads(pickle.dumps(ListSource(tmp_path / "list.txt", root=tmp_path / "faces")))
    assert [source.key(i) for i in range(len(source))] == ["a/1.jpg", "b c/2.jpg", "/abs/3.jpg", "4.jpg"]
    assert [source.identity(i) for i in range(3)] == ["Ann", "Bo", "7"]
    assert source.read(1).encoded == b"two"
    with pytest.raises(LafsError, match="No such file"):
        source.read(0)


@pytest.mark.parametrize(
    "text",
    [
        "0\t7.000000\ta/1.jpg\n1\t8\tb/1.jpg\n",
        "0\t7\t0.5\t0.25\ta/1.jpg\n5\t8\t0\t0\tb/1.jpg\n",
        "1\ta/1.jpg\t7\n1\tb/1.jpg\t8\n",
        "0\ta/1.jpg\t7\t10\t20\t30\t40\n0\tb/1.jpg\t8\t10\t20\t30\t40\n",
    ],
)
def test_lists_of_mxnet_and_insightface(tmp_path, text):
    (tmp_path / "train.lst").write_text(text)
    assert listing(ListSource(tmp_path / "train.lst")) == [("a/1.jpg", "7"), ("b/1.jpg", "8")]


def test_a_list_from_windows(tmp_path):
    touch(tmp_path / "a/1.jpg", b"bytes")
    (tmp_path / "list.txt").write_text("a\\1.jpg x\n")
    assert ListSource(tmp_path / "list.txt").read(0).encoded == b"bytes"


@pytest.mark.parametrize(
    "text",
    [
        f"1\n{OF_CELEBA} \n000001.jpg  69  109  106  113   77  142   73  152  108  154\n",
        f"image_id,{OF_CELEBA.replace(' ', ',')}\n000001.jpg,69,109,106,113,77,142,73,152,108,154\n",
    ],
)
def test_points_of_celeba(tmp_path, text):
    (tmp_path / "list_landmarks_align_celeba").write_text(text)
    expected = [[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]]
    points = read_points(tmp_path / "list_landmarks_align_celeba")
    assert {name: found.tolist() for name, found in points.items()} == {"000001.jpg": expected}


def test_list_with_points_and_names_in_another_form(tmp_path):
    touch(tmp_path / "e\u0301.jpg", b"found")
    (tmp_path / "list.csv").write_text(
        "path,who,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n\u00e9.jpg,0007,1,2,3,4,5,6,7,8,9,10\nb.jpg,-1,,,,,,,,,,\n"
        "\u00e9.jpg,nan,1,2,3,4,5,6,7,8,9,x\n"
    )
    source = ListSource(tmp_path / "list.csv", identity_column="who")
    assert source.read(0).encoded == b"found"
    assert source.read(0).points.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert source.identity(0) == "0007"
    assert source.key(2) == "\u00e9.jpg#2"
    with pytest.raises(LafsError, match="negative"):
        source.identity(1)
    with pytest.raises(LafsError, match="label is nan"):
        source.identity(2)
    with pytest.raises(LafsError, match="not numbers"):
        source.read(2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no images"),
        ("a.jpg,b,c\n", "line 1 has 3 fields"),
        ("file,identity\na.jpg\n", "line 2 has 1 fields"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(LafsError, match=rf"list\.txt.*{message}"):
        ListSource(tmp_path / "list.txt")


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
