"""Few-shot subsets as functions of a seed and of names alone."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.faces.subsets import identity_labels, select_shots
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


def test_keys_minimum_and_unlabelled_rows():
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
