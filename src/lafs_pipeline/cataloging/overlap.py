"""Training images that a benchmark also holds."""

from typing import Literal

import pandas as pd

from lafs_pipeline.faces.manifest import REJECTED_TYPES, TRAIN, typed_table

_SIDE = ["key", "identity"]
_FOUND = ["kind", "mirrored", "distance", "similarity"]
OVERLAP_COLUMNS = ["benchmark", "key", "identity", "benchmark_key", "benchmark_identity", *_FOUND]


def find_overlap(manifest: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """Training images that are duplicates of a benchmark's image.

    Returns:
        One row per training image and duplicate: benchmark, key, identity, benchmark_key, benchmark_identity,
        kind (`exact` or `near`), mirrored, distance, similarity. Of images of a benchmark with equal bytes
        the first is named.
    """
    columns = ["key", "identity", "split", "exact_hash"]
    train = manifest.loc[manifest["split"] == TRAIN, columns].drop(columns="split")
    held = manifest.loc[manifest["split"] != TRAIN, columns].drop_duplicates(["split", "exact_hash"])
    held = held.rename(
        columns={"key": "benchmark_key", "identity": "benchmark_identity", "split": "benchmark"}
    )
    exact = train.merge(held, on="exact_hash").assign(
        kind="exact", mirrored=False, distance=0, similarity=1.0
    )
    near = duplicates.loc[duplicates["kind"] == "near", ["key_a", "key_b", *_FOUND]]
    digests = manifest.loc[manifest["key"].isin({*near["key_a"], *near["key_b"]})].set_index("key")[
        "exact_hash"
    ]
    digest_a, digest_b = (digests.loc[near[side]].to_numpy() for side in ("key_a", "key_b"))
    found = [exact]
    for one, other in ((digest_a, digest_b), (digest_b, digest_a)):
        sides = near[_FOUND].assign(exact_hash=one, other_hash=other)
        both = train.merge(sides, on="exact_hash").drop(columns="exact_hash")
        found.append(both.merge(held, left_on="other_hash", right_on="exact_hash"))
    table = pd.concat([part[OVERLAP_COLUMNS] for part in found], ignore_index=True)
    kinds = dict.fromkeys(["benchmark", "kind"], "string") | {"similarity": "float32"}
    return table.astype(kinds).sort_values(["benchmark", "key", "benchmark_key"], ignore_index=True)


def exclude_overlap(
    manifest: pd.DataFrame, overlap: pd.DataFrame, rule: Literal["none", "images", "identities"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave training images out that overlap with a benchmark.

    Args:
        manifest: The images.
        overlap: Of :func:`find_overlap`.
        rule: `images` leaves out the duplicates, `identities` all training images of their identities.

    Returns:
        The manifest without them, and the rejected: source, key, reason.
    """
    first = overlap.drop_duplicates("key")
    said = first["kind"].map({"exact": "is an exact", "near": "is a near"}) + " duplicate of "
    said += first["benchmark_key"] + " of benchmark '" + first["benchmark"] + "'"
    reasons = manifest["key"].map(dict(zip(first["key"], "it " + said, strict=True)))
    if rule == "identities":
        known = first["identity"].notna()
        people = dict(
            zip(
                first["identity"][known], first["key"][known] + " of its identity " + said[known], strict=True
            )
        )
        reasons = reasons.fillna(manifest["identity"].map(people))
    leaving = reasons.notna() & (manifest["split"] == TRAIN) & (rule != "none")
    left = manifest[leaving]
    rejected = typed_table(
        REJECTED_TYPES, [left["source"].astype(str), left["key"], reasons[leaving].astype(str)]
    )
    return manifest[~leaving].reset_index(drop=True), rejected
