"""IJB trees: read whole, and with every fault that a copy can have."""

import numpy as np
import pandas as pd
import pytest
from tests.protocols.ijb_trees import write_tree

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import manifest_points
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.synthetic.faces import draw_face


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "IJBC")


def catalog(tree, on_missing="error", **options):
    benchmark = BenchmarkSettings(kind="ijb", path=str(tree.root), on_missing=on_missing, **options)
    packed = tree.root.parent / "out" / "faces.rec"
    return catalog_faces(CatalogSettings(benchmarks={"ijbc": benchmark}, threads=1), 0, packed)


def counts(found):
    row = found.protocols.iloc[0]
    return {
        name.removeprefix("excluded_"): int(row[name]) for name in found.protocols.columns[3:] if row[name]
    }


@pytest.mark.parametrize("kind", ["ijbb", "ijbc"])
def test_a_whole_tree(tmp_path, kind):
    tree = write_tree(tmp_path / kind, kind, people=3)
    found = catalog(tree)
    assert counts(found) == {}
    assert found.rejected.empty
    assert found.pairs.empty
    names = [f"ijbc/{image}" for image, _, _ in tree.media]
    assert found.manifest["key"].tolist() == names
    people = [f"ijbc/{tree.subject_of[template]}" for _, template, _ in tree.media]
    assert found.manifest["identity"].tolist() == people
    rows = found.templates[["key", "template", "media"]].to_numpy().tolist()
    assert rows == [[name, t, m] for name, (_, t, m) in zip(names, tree.media, strict=True)]
    assert sorted(found.templates["score"].unique()) == pytest.approx([0.5, 0.56, 0.62])
    assert [
        tuple(row) for row in found.template_pairs[["template_a", "template_b", "is_same"]].to_numpy()
    ] == [(a, b, label == 1) for a, b, label in tree.pairs]
    roles = found.template_subjects.groupby("role", observed=True)["template"].agg(list).to_dict()
    assert roles == tree.galleries | {"probe": tree.probes}
    assert found.protocols.iloc[0][["kind", "alignment"]].tolist() == ["ijb", "arcface-112, given points"]
    back = found.template_pairs
    back.to_parquet(tmp_path / "pairs.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "pairs.parquet"), back)


def test_faces_are_aligned_by_their_points(tree):
    manifest = catalog(tree).manifest
    error = np.linalg.norm(manifest_points(manifest) - ARCFACE_TEMPLATE, axis=2)
    assert error.mean() < 4
    drawn = draw_face(5, 2, 1).image
    row = manifest["key"].tolist().index(f"ijbc/{2 * 7 + 2}.jpg")
    seen = FaceImages(manifest)[row][20:100, 20:90].astype(int)
    assert np.abs(seen - drawn[20:100, 20:90]).mean() < 20


def lose_an_image(tree):
    (tree.root / "loose_crop/2.jpg").unlink()
    return "1 images of .* cannot be used, first 2.jpg", {"images": 1}, 128


def damage_an_image(tree):
    (tree.root / "loose_crop/2.jpg").write_bytes(b"\xff\xd8\xff no image")
    return "1 images of .* cannot be used, first 2.jpg", {"images": 1}, 128


def lose_a_template(tree):
    for number in (4, 5):
        (tree.root / f"loose_crop/{number}.jpg").unlink()
    return "2 images of .* cannot be used, first 4.jpg", {"images": 2, "templates": 1, "pairs": 8}, 120


def lose_lines_of_a_template(tree):
    for _ in range(2):
        tree.drop_line("_face_tid_mid.txt", 3)
    return "1 templates of .* have no image, first 101", {"templates": 1, "pairs": 8}, 120


def lose_points(tree):
    tree.drop_line("_name_5pts_score.txt", 6)
    return "1 images have no line in .*_name_5pts_score.txt, first 7.jpg", {"images": 1}, 128


def cut_the_media_file(tree):
    path = tree.meta("_face_tid_mid.txt")
    path.write_bytes(path.read_bytes()[:-8])
    return r"_face_tid_mid.txt: 1 line\(s\) with other than the 3 fields", {"lines": 1}, 128


def cut_the_points_file(tree):
    path = tree.meta("_name_5pts_score.txt")
    path.write_bytes(path.read_bytes()[:-40])
    return r"_name_5pts_score.txt: 1 line\(s\) with other than the 12 fields", {"lines": 1, "images": 1}, 128


def cut_the_pair_file(tree):
    path = tree.meta("_template_pair_label.txt")
    path.write_bytes(path.read_bytes()[:-3])
    return r"_template_pair_label.txt: 1 line\(s\) with other than the 3 fields", {"lines": 1}, 127


def cut_the_probe_file(tree):
    path = tree.meta("_1N_probe_mixed.csv")
    path.write_text(path.read_text() + "17")
    return r"_1N_probe_mixed.csv: 1 line\(s\) with no template and subject", {"lines": 1}, 128


def repeat_a_pair(tree):
    a, b, label = tree.pairs[3]
    with tree.meta("_template_pair_label.txt").open("a") as stream:
        stream.write(f"{b} {a} {label}\n{a} {b} {label}\n")
    return "2 pairs of .* are listed more than once", {"pairs": 2, "duplicate_pairs": 2}, 128


def give_another_label(tree):
    with tree.meta("_template_pair_label.txt").open("a") as stream:
        stream.write("1 101 7\n")
    return r"a label that is neither 0 nor 1, first \[1, 101, 7\]", {"lines": 1}, 128


def enrol_a_stranger(tree):
    with tree.meta("_1N_gallery_G1.csv").open("a") as stream:
        stream.write("999,1000,img/none.jpg\n")
    return "1 templates of .* have no image, first 999", {"templates": 1}, 128


FAULTS = [
    lose_an_image,
    damage_an_image,
    lose_a_template,
    lose_lines_of_a_template,
    lose_points,
    cut_the_media_file,
    cut_the_points_file,
    cut_the_pair_file,
    cut_the_probe_file,
    repeat_a_pair,
    give_another_label,
    enrol_a_stranger,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_or_counted(tree, fault):
    message, excluded, pairs_left = fault(tree)
    with pytest.raises(LafsError, match=f"Benchmark 'ijbc': .*{message}.*on_missing: exclude"):
        catalog(tree)
    assert not (tree.root.parent / "out/faces.rec").exists()
    found = catalog(tree, "exclude")
    assert counts(found) == excluded
    assert len(found.template_pairs) == pairs_left
    there = set(found.templates["template"])
    assert set(found.template_pairs["template_a"]) | set(found.template_pairs["template_b"]) <= there
    assert set(found.template_subjects["template"]) <= there
    assert set(found.templates["key"]) <= set(found.manifest["key"])


def test_what_has_no_file_is_listed_with_its_reason(tree):
    lose_an_image(tree)
    rejected = catalog(tree, "exclude").rejected
    assert rejected[["key", "reason"]].to_numpy().tolist() == [["ijbc/2.jpg", "its file does not exist"]]


def contradict_a_label(tree):
    a, b, label = tree.pairs[0]
    with tree.meta("_template_pair_label.txt").open("a") as stream:
        stream.write(f"{b} {a} {1 - label}\n")
    return "are listed as one person and as two"


def contradict_a_subject(tree):
    with tree.meta("_1N_probe_mixed.csv").open("a") as stream:
        stream.write("1,1001,img/none.jpg\n")
    return "template 1 has more than one subject"


def take_the_pairs_away(tree):
    tree.meta("_template_pair_label.txt").unlink()
    return "_template_pair_label.txt does not exist"


def take_the_images_away(tree):
    (tree.root / "loose_crop").rename(tree.root / "crops")
    return "is not a tree of IJB-B or IJB-C"


@pytest.mark.parametrize("on_missing", ["error", "exclude"])
@pytest.mark.parametrize(
    "fault", [contradict_a_label, contradict_a_subject, take_the_pairs_away, take_the_images_away]
)
def test_contradictions_and_missing_parts_are_always_refused(tree, fault, on_missing):
    message = fault(tree)
    with pytest.raises(LafsError, match=message):
        catalog(tree, on_missing)


def test_names_never_lead_out_of_the_folder(tree):
    for name in ("_face_tid_mid.txt", "_name_5pts_score.txt"):
        path = tree.meta(name)
        path.write_text(path.read_text().replace("2.jpg", "../loose_crop/2.jpg", 1))
    found = catalog(tree, "exclude")
    assert "ijbc/../loose_crop/2.jpg" in found.rejected["key"].tolist()
    assert counts(found)["images"] == 1


def test_a_tree_without_galleries(tree):
    for path in (tree.root / "meta").glob("*.csv"):
        path.unlink()
    found = catalog(tree)
    assert found.template_subjects.empty
    assert found.manifest["identity"].isna().all()


def test_a_copy_that_broke_off_between_lines_is_told(tree, caplog):
    catalog(tree)
    assert "as published they list 469,375 images, 23,124 templates and 15,658,489 pairs" in caplog.text
