"""TinyFace's layout, in trees of drawn faces, and its ranks against a loop over all probes."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat
from tests.protocols.tinyface_trees import write_list, write_tinyface

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.identification import rank_rates
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError


def cataloged(root, folder, protocol=None):
    settings = BenchmarkSettings(
        kind="tinyface", path=str(root), pairs_file=str(protocol or root), aligned=True
    )
    return catalog_faces(CatalogSettings(benchmarks={"tiny": settings}, threads=1), 0, folder / "stores")


def test_who_is_searched_among_whom(tmp_path):
    found = cataloged(write_tinyface(tmp_path / "Testing_Set"), tmp_path)
    assert len(found.templates) == 4 * 2 + 4 + 3
    assert found.template_pairs.empty
    key = dict(zip(found.templates["template"], found.templates["key"], strict=True))
    rows = {
        key[row.template]: (row.role, row.subject) for row in found.template_subjects.itertuples(index=False)
    }
    assert rows["tiny/Gallery_Match/2_1.jpg"] == ("gallery", 3)
    assert rows["tiny/Probe/2_2.jpg"] == ("probe", 3)
    assert rows["tiny/Gallery_Distractor/50_0.jpg"] == ("gallery", -1)
    identity = found.manifest.set_index("key")["identity"]
    assert identity["tiny/Gallery_Match/2_0.jpg"] == identity["tiny/Probe/2_2.jpg"] == "tiny/3"
    assert found.protocols["excluded_images"].tolist() == [0]


def test_aligned_copies_may_end_otherwise_and_unusable_ones_are_counted(tmp_path):
    root = write_tinyface(tmp_path / "Testing_Set")
    aligned = tmp_path / "aligned"
    for folder in ("Gallery_Match", "Gallery_Distractor", "Probe"):
        shutil.copytree(root / folder, aligned / folder)
    (aligned / "Probe/0_2.jpg").rename(aligned / "Probe/0_2.png")
    (aligned / "Gallery_Match/1_0.jpg").write_bytes(b"no image")
    (aligned / "Probe/stray.jpg").write_bytes((aligned / "Probe/1_2.jpg").read_bytes())
    found = cataloged(aligned, tmp_path, root)
    assert found.protocols["excluded_images"].tolist() == [2]
    keys = set(found.templates["key"])
    assert "tiny/Probe/0_2.png" in keys
    assert not {"tiny/Probe/stray.jpg", "tiny/Gallery_Match/1_0.jpg"} & keys


def broken(tmp_path, what):
    root = write_tinyface(tmp_path / "Testing_Set")
    path = root / "probe_img_ID_pairs.mat"
    if what == "absent":
        path.unlink()
    elif what == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif what == "other":
        savemat(path, {"something": [1]})
    elif what == "uneven":
        write_list(path, "probe", ["0_2.jpg"], [1, 2])
    elif what == "lost":
        (root / "Probe/3_2.jpg").unlink()
    else:
        shutil.rmtree(root / "Gallery_Distractor")
    return root


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("absent", r"probe_img_ID_pairs\.mat does not exist; expected TinyFace's list"),
        ("torn", r"probe_img_ID_pairs\.mat is not TinyFace's list"),
        ("other", r"is not TinyFace's list \(probe_set, probe_ids\)"),
        ("uneven", "lists 1 images and 2 people"),
        ("lost", "1 listed images are not in .*, first Probe/3_2. Is the copy whole"),
        ("folder", "has no folder Gallery_Distractor; expected TinyFace's Testing_Set"),
    ],
)
def test_trees_that_cannot_be_used(tmp_path, what, message):
    with pytest.raises(LafsError, match=f"Benchmark 'tiny': .*{message}"):
        cataloged(broken(tmp_path, what), tmp_path)


def test_ranks_are_those_of_a_loop_over_probes():
    rng = np.random.default_rng(0)
    subjects = np.concatenate([np.repeat(np.arange(40), 3), [-1] * 180])
    gallery, probed = rng.normal(size=(300, 12)), np.append(rng.integers(0, 40, 90), [77])
    probes = gallery[probed % 40 * 3] + 1.2 * rng.normal(size=(91, 12))
    gallery, probes = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (gallery, probes))
    places = []
    for probe, subject in zip(probes[:-1], probed[:-1], strict=True):
        order = subjects[np.argsort(-(gallery @ probe))]
        places.append(int(np.flatnonzero(order == subject)[0]))
    found = rank_rates(gallery, subjects, probes, probed)
    assert found == {k: float((np.array(places) < k).mean()) for k in (1, 5)}
    assert 0.1 < found[1] < found[5] < 1
    with pytest.raises(LafsError, match="No probe has its subject in the gallery"):
        rank_rates(gallery, subjects, probes[:1], [77])
