"""The dataset card: what a data set consists of, in numbers."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from lafs_pipeline.faces.manifest import TRAIN, fingerprint

_BINS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
_REASONS = 10
_VARYING = re.compile(r"'[^']*'|\S*/\S*|\d+(\.\d+)?")


def describe_dataset(
    manifest: pd.DataFrame, duplicates: pd.DataFrame, overlap: pd.DataFrame, rejected: pd.DataFrame
) -> dict[str, Any]:
    """A data set in numbers, ready for JSON.

    Returns:
        fingerprint; images; splits and sources with their counts; images_per_identity of the training images;
        width, height and score with their spread; channel_orders; duplicates; overlap; rejected.
    """
    train = manifest[manifest["split"] == TRAIN]
    per_identity = train["identity"].value_counts().to_numpy()
    return {
        "fingerprint": fingerprint(manifest),
        "images": len(manifest),
        "splits": {str(name): _counts(rows) for name, rows in manifest.groupby("split", observed=True)},
        "sources": {
            str(name): _counts(rows) | {"channel_orders": _tally(rows["channel_order"])}
            for name, rows in manifest.groupby("source", observed=True)
        },
        "images_per_identity": _spread(per_identity) | {"histogram": _histogram(per_identity)},
        "width": _spread(manifest["width"]),
        "height": _spread(manifest["height"]),
        "score": _spread(manifest["score"].dropna()),
        "channel_orders": _tally(manifest["channel_order"]),
        "duplicates": {
            kind: {
                "pairs": len(rows),
                "same_identity": int(rows["same_identity"].fillna(False).sum()),
                "different_identities": int((~rows["same_identity"].fillna(True)).sum()),
                "mirrored": int(rows["mirrored"].sum()),
            }
            for kind in ("exact", "near")
            for rows in [duplicates[duplicates["kind"] == kind]]
        },
        "overlap": {
            str(name): {
                "training_images": rows["key"].nunique(),
                "training_identities": rows["identity"].nunique(),
                "benchmark_images": rows["benchmark_key"].nunique(),
                "exact": int((rows["kind"] == "exact").sum()),
                "near": int((rows["kind"] == "near").sum()),
            }
            for name, rows in overlap.groupby("benchmark", observed=True)
        },
        "rejected": {
            "images": len(rejected),
            "reasons": _tally(rejected["reason"].map(lambda reason: _VARYING.sub("*", reason)), _REASONS),
        },
    }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "images": len(rows),
        "identities": int(rows["identity"].nunique()),
        "unlabeled": int(rows["identity"].isna().sum()),
    }


def _tally(values: pd.Series, most: int | None = None) -> dict[str, int]:
    counts = values.value_counts()
    return {str(name): int(count) for name, count in counts[counts > 0].head(most or len(counts)).items()}


def _spread(values: Any) -> dict[str, float]:
    """Least, median, mean and greatest value; empty where there is none."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return {}
    figures = {"min": values.min(), "median": np.median(values), "mean": values.mean(), "max": values.max()}
    return {name: round(float(value), 4) for name, value in figures.items()}


def _histogram(counts: np.ndarray) -> dict[str, int]:
    found, _ = np.histogram(counts, [*_BINS, np.inf])
    ends = [f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(_BINS)]
    names = [*ends, f"{_BINS[-1]}+"]
    return {name: int(count) for name, count in zip(names, found, strict=True)}
