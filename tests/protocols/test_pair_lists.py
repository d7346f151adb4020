"""Pair lists in the forms of CFP, CALFW, CPLFW and users."""

import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.protocols.pair_lists import read_cfp_pairs, read_cross_lfw_pairs, read_pairs_csv
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face


def write_face(path, person, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(draw_face(3, person, number).image))


def catalog(tmp_path, sources=None, **options):
    benchmark = BenchmarkSettings(**{"aligned": True} | options)
    settings = CatalogSettings(sources=sources or {}, benchmarks={"b": benchmark}, threads=1)
    return catalog_faces(settings, 0, tmp_path / "out/faces.rec")


@pytest.fixture
def cfp(tmp_path):
    """Two folds of three people in two splits, with a frontal and a profile image each."""
    root = tmp_path / "cfp"
    lists = {"F": ("frontal", []), "P": ("profile", [])}
    for person in range(1, 7):
        for kind, (view, lines) in lists.items():
            for number in (1, 2) if kind == "F" else (1,):
                name = f"{person:03d}/{view}/{number:02d}.jpg"
                write_face(root / "Data/Images" / name, person, number + 10 * (kind == "P"))
                lines.append(f"{len(lines) + 1} ../Data/Images/{name}\n")
    for protocol in ("FF", "FP"):
        for fold in range(2):
            split = root / "Protocol/Split" / protocol / f"{fold + 1:02d}"
            split.mkdir(parents=True)
            people = range(3 * fold, 3 * fold + 3)
            if protocol == "FF":
                same = [f"{2 * p + 1},{2 * p + 2}" for p in people]
                diff = [f"{2 * p + 1},{2 * (3 * fold + (p + 1) % 3) + 2}" for p in people]
            else:
                same = [f"{2 * p + 1},{p + 1}" for p in people]
                diff = [f"{2 * p + 2},{3 * fold + (p + 1) % 3 + 1}" for p in people]
            (split / "same.txt").write_text("\n".join(same))
            (split / "diff.txt").write_text("\n".join(diff) + "\n")
    for kind, (_, lines) in lists.items():
        (root / f"Protocol/Pair_list_{kind}.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize(("protocol", "second"), [("FF", "frontal/02"), ("FP", "profile/01")])
def test_cfp(cfp, protocol, second):
    pairs = read_cfp_pairs(cfp / "Protocol", protocol)
    assert pairs["is_same"].tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    assert pairs["fold"].tolist() == [0] * 6 + [1] * 6
    assert pairs.iloc[0].tolist() == ["001/frontal/01.jpg", f"001/{second}.jpg", True, 0]
    people = [pairs[side].str[:3] for side in ("name_a", "name_b")]
    assert ((people[0] == people[1]) == pairs["is_same"]).all()


def test_cfp_as_a_benchmark_knows_its_people(cfp, tmp_path):
    found = catalog(
        tmp_path, kind="cfp", path=str(cfp / "Data/Images"), pairs_file=str(cfp / "Protocol"), protocol="FP"
    )
    assert len(found.pairs) == 12
    identity = found.manifest.set_index("key")["identity"]
    assert set(identity) == {f"b/{person:03d}" for person in range(1, 7)}
    same = identity[found.pairs["key_a"]].to_numpy() == identity[found.pairs["key_b"]].to_numpy()
    assert same.tolist() == found.pairs["is_same"].tolist()


def test_a_cfp_split_that_names_no_listed_image(cfp):
    path = cfp / "Protocol/Split/FP/02/diff.txt"
    path.write_text("2,3\n1,99\n")
    with pytest.raises(LafsError, match=r"diff.txt, line 2: expected the numbers of two listed images"):
        read_cfp_pairs(cfp / "Protocol", "FP")


CALFW = "A_B_0001.jpg 1\nA_B_0002.jpg 1\nC_0001.jpg 2\nC_0003.jpg 2\n" + (
    "A_B_0001.jpg 0\nC_0001.jpg 0\nC_0003.jpg 0\nA_B_0002.jpg 0\n"
)


def test_calfw_tells_the_folds_of_its_positive_pairs(tmp_path):
    (tmp_path / "pairs_CALFW.txt").write_text(CALFW)
    pairs = read_cross_lfw_pairs(tmp_path / "pairs_CALFW.txt", folds=2)
    assert pairs["is_same"].tolist() == [True, True, False, False]
    assert pairs["fold"].tolist() == [0, 1, 0, 1]
    assert pairs.iloc[3, :2].tolist() == ["C_0003.jpg", "A_B_0002.jpg"]


def test_cplfw_pairs_of_either_kind_are_dealt_out(tmp_path):
    lines = [f"P_{n}.jpg {label}\n" for label in (1, 0) for n in range(12)]
    (tmp_path / "pairs_CPLFW.txt").write_text("".join(lines))
    pairs = read_cross_lfw_pairs(tmp_path / "pairs_CPLFW.txt", folds=3)
    assert pairs["is_same"].tolist() == [True] * 6 + [False] * 6
    assert pairs["fold"].tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_people_of_cross_lfw_come_from_the_names_and_leave_training(tmp_path):
    for person, name in enumerate(["A_B", "C"]):
        for number in (1, 2, 3):
            write_face(tmp_path / "calfw" / f"{name}_{number:04d}.jpg", person, number)
    for person, name in enumerate(["C", "D", "E"]):
        for number in range(2):
            write_face(tmp_path / "train" / name / f"{number}.jpg", 20 + person, number)
    (tmp_path / "pairs.txt").write_text(CALFW)
    sources = {"t": SourceSettings(path=str(tmp_path / "train"), aligned=True)}
    found = catalog(
        tmp_path,
        sources,
        kind="cross_lfw",
        path=str(tmp_path / "calfw"),
        pairs_file=str(tmp_path / "pairs.txt"),
        folds=2,
    )
    people = found.manifest[["split", "identity"]].drop_duplicates().to_numpy().tolist()
    assert people == [["train", "t/D"], ["train", "t/E"], ["b", "b/A_B"], ["b", "b/C"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1\nb.jpg 0\n", "line 2: expected an image and the label of its pair"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 1\n", "3 lines; expected two a pair"),
        ("a.jpg\nb.jpg\n", "line 1: expected an image and the label"),
        ("", "names no pairs"),
    ],
)
def test_damaged_cross_lfw_lists(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(LafsError, match=message):
        read_cross_lfw_pairs(tmp_path / "pairs.txt", 10)


def test_a_list_of_ones_own(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [("x/1.png", "x/2.png", "True", 7), ("x/1.png", "y/1.png", "0", 7), ("y/1.png", "y/2.png", 1, 9)]
    pd.DataFrame(rows, columns=["a", "b", "is_same", "fold"]).to_csv(path, index=False)
    pairs = read_pairs_csv(path, folds=10)
    assert pairs["is_same"].tolist() == [True, False, True]
    assert pairs["fold"].tolist() == [0, 0, 1]
    pd.DataFrame(rows, columns=["a", "b", "is_same", "fold"]).drop(columns="fold").to_csv(path, index=False)
    np.testing.assert_array_equal(read_pairs_csv(path, folds=2)["fold"], [0, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nx,y\n", "no column is_same"),
        ("a,b,is_same\nx,y,maybe\n", "line 2: expected two images and 1 or 0"),
        ("a,b,is_same\nx,,1\n", "line 2"),
        ("a,b,is_same\n", "names no pairs"),
        ("a,b,is_same,fold\nx,y,1,one\n", "every fold must be a whole number"),
    ],
)
def test_damaged_lists_of_ones_own(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(LafsError, match=message):
        read_pairs_csv(tmp_path / "pairs.csv", 10)


@pytest.fixture
def own(tmp_path):
    """Six images of three people, flat, with the person in the middle of the name, and a CSV of pairs."""
    for person in range(3):
        for number in (1, 2):
            write_face(
                tmp_path / "own" / f"{2 * person + number}_person{person}_{30 + number}_f.jpg", person, number
            )
    (tmp_path / "pairs.csv").write_text(
        "a,b,is_same\n1_person0_31_f.png,2_person0_32_f.png,1\n3_person1_31_f.jpg,4_person1_32_f.jpg,1\n"
        "1_person0_31_f.png,3_person1_31_f.jpg,0\n5_person2_31_f.jpg,9_person3_31_f.jpg,0\n"
        "2_person0_32_f.png,5_person2_31_f.jpg,0\n"
    )
    return {
        "kind": "pairs_csv",
        "path": str(tmp_path / "own"),
        "pairs_file": str(tmp_path / "pairs.csv"),
        "identity_pattern": r"^\d+_(.+)_\d+_[mf]\.",
        "folds": 2,
    }


def test_images_that_are_not_there_are_refused_or_counted(tmp_path, own):
    with pytest.raises(
        LafsError, match=r"Benchmark 'b': 1 images named in .*: 9_person3_31_f.jpg.*on_missing"
    ):
        catalog(tmp_path, **own)
    found = catalog(tmp_path, **own, on_missing="exclude")
    assert len(found.pairs) == 4
    assert found.protocols[["excluded_images", "excluded_pairs"]].to_numpy().tolist() == [[1, 1]]
    assert set(found.manifest["identity"]) == {"b/person0", "b/person1", "b/person2"}


def test_groups(tmp_path, own):
    (tmp_path / "groups.csv").write_text("key,group\n1_person0_31_f.jpg,young\n3_person1_31_f.jpg,old\n")
    groups = {"groups": str(tmp_path / "groups.csv"), "on_missing": "exclude"}
    manifest = catalog(tmp_path, **own, **groups).manifest.set_index("key")
    assert manifest["group"].dropna().to_dict() == {
        "b/1_person0_31_f.jpg": "young",
        "b/3_person1_31_f.jpg": "old",
    }
    (tmp_path / "groups.csv").write_text("key,group\nnobody.jpg,young\n")
    with pytest.raises(LafsError, match=r"name no cataloged image, but 'b/nobody\.jpg'"):
        catalog(tmp_path, **own, **groups)
    (tmp_path / "groups.csv").write_text("key,group\n1_person0_31_f.jpg,a/b\n")
    with pytest.raises(LafsError, match="'a/b' cannot be a name"):
        catalog(tmp_path, **own, **groups)


@pytest.mark.parametrize(("pattern", "message"), [("(", "is no regular expression"), ("x+", "has no group")])
def test_patterns_that_find_nobody(tmp_path, own, pattern, message):
    with pytest.raises(LafsError, match=message):
        catalog(tmp_path, **own | {"identity_pattern": pattern, "on_missing": "exclude"})
