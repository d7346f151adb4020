"""Duplicates: planted ones are found, and nothing else."""

import cv2
import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.duplicates import default_distance, find_duplicates
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face


@pytest.fixture
def folder(tmp_path):
    """Ten people with three drawn faces each, and copies of some of them."""
    path = tmp_path / "faces"
    for person in range(10):
        (path / f"p{person}").mkdir(parents=True)
        for image in range(3):
            save(path / f"p{person}/{image}.png", draw_face(11, person, image).image)
    (path / "p0/copy.png").write_bytes((path / "p0/0.png").read_bytes())
    (path / "p7/stolen.png").write_bytes((path / "p0/0.png").read_bytes())
    (path / "p1/small.jpg").write_bytes(encode_jpeg(draw_face(11, 1, 1).image, 50))
    save(path / "p2/mirrored.png", draw_face(11, 3, 0).image[:, ::-1])
    save(
        path / "p4/large.png",
        cv2.resize(draw_face(11, 4, 2).image, (200, 200), interpolation=cv2.INTER_CUBIC),
    )
    save(path / "p5/black.png", np.zeros((112, 112, 3), np.uint8))
    save(path / "p6/gray.png", np.full((112, 112, 3), 1, np.uint8))
    return path


def save(path, image):
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def catalog(tmp_path, folder, **options):
    sources = {"s": SourceSettings(path=str(folder), aligned=True, labeled=options.pop("labeled", True))}
    return catalog_faces(CatalogSettings(sources=sources, **options), 0, tmp_path / "faces.rec")


def test_planted_duplicates_are_found_and_nothing_else(tmp_path, folder):
    found = catalog(tmp_path, folder).duplicates
    columns = ["key_a", "key_b", "kind", "mirrored", "same_identity"]
    assert found[columns].to_numpy().tolist() == [
        ["s/p0/0.png", "s/p0/copy.png", "exact", False, True],
        ["s/p0/0.png", "s/p7/stolen.png", "exact", False, False],
        ["s/p1/1.png", "s/p1/small.jpg", "near", False, True],
        ["s/p2/mirrored.png", "s/p3/0.png", "near", True, False],
        ["s/p4/2.png", "s/p4/large.png", "near", False, True],
    ]
    assert (found["distance"][found["kind"] == "exact"] == 0).all()
    assert found["similarity"].between(0.9, 1.0001).all()
    assert set(found["split_a"]) | set(found["split_b"]) == {"train"}


def test_the_second_look_decides(tmp_path, folder):
    manifest = catalog(tmp_path, folder).manifest
    everything = find_duplicates(manifest, 16, 0.0)
    strict = find_duplicates(manifest, 16, 0.99)
    assert len(strict) < len(everything)
    assert (strict["similarity"] >= 0.99).all()
    loose = everything[everything["similarity"] >= 0.99].reset_index(drop=True)
    pd.testing.assert_frame_equal(strict, loose)
    again = find_duplicates(manifest, 16, 0.0, threads=3)
    pd.testing.assert_frame_equal(again, everything)


def test_unlabeled_and_undecoded_images(tmp_path, folder):
    found = catalog(tmp_path, folder, labeled=False, check_images=False)
    unseen = found.manifest[found.manifest["key"] != "s/p4/large.png"]
    assert unseen["perceptual_hash"].isna().all()
    assert found.duplicates["kind"].tolist() == ["exact", "exact"]
    assert found.duplicates["same_identity"].isna().all()


def test_more_images_allow_fewer_bits():
    assert [default_distance(n) for n in (2, 100_000, 100_001, 2_000_000, 42_000_000)] == [10, 10, 8, 8, 6]


def test_real_duplicates(tmp_path, shared_dir):
    """celeba_299's README: 7392/7393 are one person, 7312/7314 probably."""
    folder = tmp_path / "some"
    folder.mkdir()
    for person in ("7312", "7314", "7392", "7393", "7228"):
        (folder / person).symlink_to(shared_dir / "faces/celeba_299/aligned112" / person)
    found = catalog(tmp_path, folder).duplicates
    across = found[~found["same_identity"]]
    assert across.groupby(["identity_a", "identity_b"]).size().to_dict() == {
        ("s/7312", "s/7314"): 4,
        ("s/7392", "s/7393"): 1,
    }
    mirrored = found[found["mirrored"]]
    assert mirrored[["key_a", "key_b"]].to_numpy().tolist() == [["s/7228/135045.jpg", "s/7228/160165.jpg"]]
