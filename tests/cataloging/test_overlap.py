"""Overlap of training images with benchmarks: reported, and left out as asked."""

import pandas as pd
import pytest

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.overlap import exclude_overlap, find_overlap
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face


def table(rows):
    frame = pd.DataFrame(rows, columns=["key", "identity", "split", "exact_hash"])
    return frame.astype({"key": "string", "identity": "string", "split": "category"}).assign(source="s")


MANIFEST = table(
    [
        ("t/0", "t/a", "train", 1),
        ("t/1", "t/a", "train", 1),
        ("t/2", "t/b", "train", 2),
        ("t/3", None, "train", 3),
        ("t/4", "t/c", "train", 4),
        ("u/0", "u/d", "one", 1),
        ("u/1", "u/d", "one", 1),
        ("v/0", None, "two", 1),
        ("u/2", "u/e", "one", 5),
        ("v/1", None, "two", 3),
    ]
)
NEAR = pd.DataFrame(
    [
        ("t/2", "u/2", "near", False, 3, 0.95),
        ("t/0", "u/2", "near", True, 5, 0.92),
        ("t/2", "t/4", "near", False, 1, 1),
    ],
    columns=["key_a", "key_b", "kind", "mirrored", "distance", "similarity"],
)


def test_copies_count_on_both_sides():
    found = find_overlap(MANIFEST, NEAR)
    assert found[["benchmark", "key", "benchmark_key", "kind", "distance"]].to_numpy().tolist() == [
        ["one", "t/0", "u/0", "exact", 0],
        ["one", "t/0", "u/2", "near", 5],
        ["one", "t/1", "u/0", "exact", 0],
        ["one", "t/1", "u/2", "near", 5],
        ["one", "t/2", "u/2", "near", 3],
        ["two", "t/0", "v/0", "exact", 0],
        ["two", "t/1", "v/0", "exact", 0],
        ["two", "t/3", "v/1", "exact", 0],
    ]
    assert found["identity"].isna().tolist() == [False] * 7 + [True]


def test_a_near_pair_with_the_benchmark_first():
    turned = NEAR.rename(columns={"key_a": "key_b", "key_b": "key_a"})
    pd.testing.assert_frame_equal(find_overlap(MANIFEST, turned), find_overlap(MANIFEST, NEAR))


@pytest.mark.parametrize(
    ("rule", "left"),
    [("none", ["t/0", "t/1", "t/2", "t/3", "t/4"]), ("images", ["t/1", "t/4"]), ("identities", ["t/4"])],
)
def test_rules(rule, left):
    overlap = find_overlap(MANIFEST, NEAR)
    overlap = overlap[overlap["key"] != "t/1"]
    kept, rejected = exclude_overlap(MANIFEST, overlap, rule)
    assert kept["key"][kept["split"] == "train"].tolist() == left
    assert (kept["split"] != "train").sum() == 5
    assert len(kept) + len(rejected) == len(MANIFEST)
    reasons = dict(zip(rejected["key"], rejected["reason"], strict=True))
    if rule != "none":
        assert reasons["t/3"] == "it is an exact duplicate of v/1 of benchmark 'two'"
        assert reasons["t/2"] == "it is a near duplicate of u/2 of benchmark 'one'"
    if rule == "identities":
        assert reasons["t/1"] == "t/0 of its identity is an exact duplicate of u/0 of benchmark 'one'"


def test_nothing_in_common():
    found = find_overlap(MANIFEST[MANIFEST["exact_hash"].isin([2, 5])], NEAR[:0])
    assert found.empty
    kept, rejected = exclude_overlap(MANIFEST, found, "images")
    pd.testing.assert_frame_equal(kept, MANIFEST)
    assert rejected.empty


def make_people(path, people, source=5):
    for name, number in people.items():
        (path / name).mkdir(parents=True)
        for image in (1, 2, 3):
            encoded = encode_jpeg(draw_face(source, number, image).image)
            (path / name / f"{name}_{image:04d}.jpg").write_bytes(encoded)
    return path


@pytest.fixture
def parts(tmp_path):
    """Training faces of Ann, Bo and Cy; a benchmark of Xi, who is Ann, and Yo, one of whose faces Bo has."""
    train = make_people(tmp_path / "train", {"Ann": 0, "Bo": 1, "Cy": 2})
    bench = make_people(tmp_path / "bench", {"Xi": 0, "Yo": 7})
    stolen = decode_image((bench / "Yo/Yo_0002.jpg").read_bytes())
    (train / "Bo/stolen.jpg").write_bytes(encode_jpeg(stolen, 60))
    (tmp_path / "pairs.txt").write_text("2\t1\nXi\t1\t2\nXi\t1\tYo\t2\nYo\t2\t3\nXi\t2\tYo\t2\n")
    benchmark = BenchmarkSettings(
        kind="pairs_txt", path=str(bench), pairs_file=str(tmp_path / "pairs.txt"), aligned=True
    )
    return {"sources": {"t": SourceSettings(path=str(train), aligned=True)}, "benchmarks": {"b": benchmark}}


@pytest.mark.parametrize(("rule", "left"), [("none", 10), ("images", 7), ("identities", 3)])
def test_catalogs_leave_out_what_is_asked(tmp_path, parts, rule, left):
    found = catalog_faces(CatalogSettings(**parts, exclude_overlap=rule), 0, tmp_path / "stores")
    assert found.overlap[["key", "benchmark_key", "kind"]].to_numpy().tolist() == [
        ["t/Ann/Ann_0001.jpg", "b/Xi/Xi_0001.jpg", "exact"],
        ["t/Ann/Ann_0002.jpg", "b/Xi/Xi_0002.jpg", "exact"],
        ["t/Bo/stolen.jpg", "b/Yo/Yo_0002.jpg", "near"],
    ]
    assert (found.manifest["split"] == "train").sum() == left
    assert len(found.rejected) == 10 - left
    assert len(found.pairs) == 4


def test_nothing_left_for_training(tmp_path, parts):
    same = parts["benchmarks"]["b"].path
    sources = {"t": SourceSettings(path=same, aligned=True, labeled=False)}
    (tmp_path / "pairs.txt").write_text("2\t1\nXi\t1\t2\nXi\t3\tYo\t2\nYo\t1\t3\nYo\t1\tXi\t3\n")
    settings = CatalogSettings(sources=sources, benchmarks=parts["benchmarks"])
    with pytest.raises(
        LafsError, match="No image is left for training: all are duplicates of benchmark images"
    ):
        catalog_faces(settings, 0, tmp_path / "stores")
