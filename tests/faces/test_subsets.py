"""Few-shot subsets as functions of a seed and of names alone."""

import hashlib
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.faces.subsets import evenly_spaced, identity_labels, read_keys, select_shots
from lafs_pipeline.runtime.errors import LafsError


def table(sizes: dict[str, int]) -> pd.DataFrame:
    rows = [(f"s/{name}/{number}", f"s/{name}") for name, size in sizes.items() for number in range(size)]
    return pd.DataFrame(rows, columns=["key", "identity"], dtype="string")


MANIFEST = table({f"p{number:02d}": 1 + number % 7 for number in range(40)})


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(0, 50), st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_counts_and_independence_of_row_order(shots, seed, fraction, random):
    chosen = select_shots(MANIFEST, shots, seed, fraction)
    sizes = MANIFEST["identity"].value_counts()
    counts = chosen["identity"].value_counts()
    assert len(counts) == int(np.ceil(round(fraction * 40, 9)))
    assert (counts == sizes[counts.index].clip(upper=shots)).all()
    order = random.sample(range(len(MANIFEST)), len(MANIFEST))
    shuffled = select_shots(MANIFEST.iloc[order].reset_index(drop=True), shots, seed, fraction)
    assert set(shuffled["key"]) == set(chosen["key"])


@settings(max_examples=15)
@given(st.randoms(use_true_random=False), st.sampled_from(["string", "object", "category"]))
def test_a_subset_depends_neither_on_order_nor_on_types(tmp_path_factory, random, kind):
    order = random.sample(range(len(MANIFEST)), len(MANIFEST))
    manifest = MANIFEST.iloc[order].astype(
        {"identity": kind, "key": kind if kind != "category" else "string"}
    )
    folder = tmp_path_factory.mktemp("subsets")
    for name, faces in (("one", MANIFEST), ("other", manifest)):
        chosen = select_shots(faces, 3, 5, 0.7, min_images=2)["key"].astype(str)
        chosen.sort_values().to_frame().to_parquet(folder / f"{name}.parquet")
    keys = read_keys(folder / "one.parquet")
    assert keys == read_keys(folder / "other.parquet")
    assert keys == sorted(select_shots(MANIFEST, None, 0, keys=keys)["key"])


@pytest.mark.parametrize(
    ("shots", "digest"),
    [(1, "2999edf2f9436a37"), (2, "1c4e5a24e4c5bb05"), (4, "85c1f4a960152cb7"), (10, "f467cc6fcd5f326e")],
)
def test_draws_of_today_are_those_of_tomorrow(shots, digest):
    keys = sorted(select_shots(MANIFEST, shots, 7, 0.5)["key"])
    assert hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16] == digest


def test_lists_of_keys(tmp_path):
    (tmp_path / "keys.txt").write_bytes("s/a b/1\r\n\ns/ä/2\n".encode())
    assert read_keys(tmp_path / "keys.txt") == ["s/a b/1", "s/ä/2"]
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1cut")
    MANIFEST[["identity"]].to_parquet(tmp_path / "other.parquet")
    (tmp_path / "latin.txt").write_bytes(b"s/\xe4\n")
    for name, message in {
        "empty.txt": "is empty",
        "cut.parquet": "cannot be read",
        "other.parquet": "cannot be read",
        "latin.txt": "cannot be read",
        "absent.txt": "does not exist",
    }.items():
        with pytest.raises(LafsError, match=f"{name} {message}.*one key a line"):
            read_keys(tmp_path / name)


def test_larger_subsets_contain_smaller_ones():
    keys = [set(select_shots(MANIFEST, shots, 3)["key"]) for shots in (1, 2, 4, 10)]
    assert all(small <= large for small, large in pairwise(keys))
    assert keys[0] != set(select_shots(MANIFEST, 1, 4)["key"])
    assert keys[-1] == set(MANIFEST["key"])


def test_other_identities_change_nothing():
    alone = select_shots(table({"a": 6, "b": 6}), 2, 0)["key"]
    among = select_shots(table({"0": 3, "a": 6, "aa": 9, "b": 6}), 2, 0)["key"]
    assert set(alone) <= set(among)


def test_draws_are_about_uniform():
    manifest = table({"a": 5})
    first = [select_shots(manifest, 1, seed)["key"].iloc[0] for seed in range(250)]
    assert pd.Series(first).value_counts().between(30, 75).all()


def test_keys_minimum_and_unlabeled_rows():
    manifest = table({"a": 3, "b": 2, "c": 1})
    manifest.loc[0, "identity"] = pd.NA
    assert set(select_shots(manifest, None, 0)["key"]) == set(manifest["key"][1:])
    assert select_shots(manifest, None, 0, min_images=2)["identity"].unique().tolist() == ["s/a", "s/b"]
    listed = ["s/b/1", "s/c/0"]
    assert select_shots(manifest, None, 0, keys=listed)["key"].tolist() == listed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "shots is 0"),
        ({"shots": 1, "identity_fraction": 0.0}, "identity_fraction is 0"),
        ({"shots": 1, "keys": ["s/x/1"]}, "1 listed keys are not in the manifest, first s/x/1"),
        ({"shots": 1, "min_images": 99}, "No image is left"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(LafsError, match=message):
        select_shots(MANIFEST, seed=0, **options)


def test_labels_are_contiguous_and_sorted_by_name():
    manifest = table({"b": 2, "a": 1, "c": 1})
    labels, names = identity_labels(manifest)
    assert names == ["s/a", "s/b", "s/c"]
    assert labels.tolist() == [1, 1, 0, 2]
    assert labels.dtype == np.int64
    manifest.loc[2, "identity"] = pd.NA
    with pytest.raises(LafsError, match="1 of 4 images have no identity, first s/a/0"):
        identity_labels(manifest)


@pytest.mark.parametrize("count", [1, 2, 7, len(MANIFEST), 1000])
def test_rows_at_equal_distances(count):
    places = evenly_spaced(len(MANIFEST), count)
    assert len(set(places)) == min(count, len(MANIFEST))
    assert places[0] == 0
    if count > 1:
        assert places[-1] == len(MANIFEST) - 1
        assert np.ptp(np.diff(places)) <= 1
