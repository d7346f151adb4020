"""The dataset card against counts made by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.cataloging.card import describe_dataset
from lafs_pipeline.cataloging.catalog import Catalog, catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.reporting.dataset_card import plot_card
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Catalog:
    folder = tmp_path_factory.mktemp("card")
    (folder / "loose").mkdir()
    for number in range(3):
        (folder / "loose" / f"{number}.jpg").write_bytes(b"" if number else b"text")
    face = encode_jpeg(draw_face(1, 0, 0).image)
    (folder / "loose" / "face.jpg").write_bytes(face)
    (folder / "loose" / "twin.jpg").write_bytes(face)
    sources = {
        "drawn": SourceSettings(kind="synthetic", identities=8, images_per_identity=3),
        "loose": SourceSettings(path=str(folder / "loose"), aligned=True, channel_order="bgr"),
    }
    benchmarks = {"held": BenchmarkSettings(source="drawn", identities=2, pairs=4, folds=2)}
    return catalog_faces(CatalogSettings(sources=sources, benchmarks=benchmarks), 0, folder / "stores")


@pytest.fixture(scope="module")
def card(found) -> dict:
    return describe_dataset(found.manifest, found.duplicates, found.overlap, found.rejected)


def test_counts(card):
    assert json.loads(json.dumps(card)) == card
    assert card["images"] == 26
    assert card["splits"]["held"] == {"images": 6, "identities": 2, "unlabeled": 0}
    assert card["splits"]["train"] == {"images": 20, "identities": 6, "unlabeled": 2}
    assert card["sources"]["loose"]["channel_orders"] == {"bgr": 2}
    assert card["channel_orders"] == {"rgb": 24, "bgr": 2}
    histogram = card["images_per_identity"]["histogram"]
    assert histogram["3-4"] == 6 == sum(histogram.values())
    assert card["images_per_identity"]["mean"] == 3
    assert card["width"] == {"min": 112, "median": 112, "mean": 112, "max": 112}
    assert card["score"] == {}
    expected = {"pairs": 1, "same_identity": 0, "different_identities": 0, "mirrored": 0}
    assert card["duplicates"]["exact"] == expected
    assert card["overlap"] == {}
    assert card["rejected"]["images"] == 3
    assert sorted(card["rejected"]["reasons"].values()) == [1, 2]


def test_overlap_counts(found):
    row = {"identity": "drawn/1", "kind": "near", "benchmark_identity": pd.NA}
    overlap = pd.DataFrame(
        [
            row | {"benchmark": "lfw", "key": "a", "benchmark_key": "x"},
            row | {"benchmark": "lfw", "key": "a", "benchmark_key": "y"},
            row | {"benchmark": "lfw", "key": "b", "benchmark_key": "y", "kind": "exact"},
        ]
    )
    card = describe_dataset(found.manifest, found.duplicates, overlap, found.rejected)
    assert card["overlap"] == {
        "lfw": {"training_images": 2, "training_identities": 1, "benchmark_images": 2, "exact": 1, "near": 2}
    }


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_fingerprint_ignores_order_places_and_types(found, random):
    manifest = found.manifest
    order = random.sample(range(len(manifest)), len(manifest))
    shuffled = manifest.iloc[order].assign(store="elsewhere.rec", offset=0)
    shuffled = shuffled.astype({"split": "string", "channel_order": "object"})
    assert fingerprint(shuffled) == fingerprint(manifest)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("exact_hash", 0),
        ("key", "drawn/other"),
        ("identity", "drawn/other"),
        ("identity", pd.NA),
        ("split", "held"),
    ],
)
def test_the_fingerprint_notices_every_change(found, column, value):
    manifest = found.manifest[found.manifest["split"] == "train"].reset_index(drop=True)
    changed = manifest.copy()
    changed.loc[4, column] = value
    assert fingerprint(changed) != fingerprint(manifest)
    assert fingerprint(manifest[1:]) != fingerprint(manifest)


def test_the_fingerprint_survives_parquet(found, tmp_path):
    found.manifest.to_parquet(tmp_path / "faces.parquet")
    assert fingerprint(pd.read_parquet(tmp_path / "faces.parquet")) == fingerprint(found.manifest)


def test_the_picture_shows_both_channel_orders(found, card, tmp_path):
    figure = plot_card(found.manifest, card)
    figure.savefig(tmp_path / "card.png")
    pictures = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    assert [picture.shape for picture in pictures] == [(2 * 112, 8 * 112, 3)] * 2
    np.testing.assert_array_equal(pictures[0], pictures[1][..., ::-1])
    assert card["fingerprint"] in figure.get_suptitle()
