"""The dataset card: what a data set consists of, in numbers, in one picture, and in one fingerprint."""

import hashlib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import TRAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECIDING = ["key", "exact_hash", "identity", "split", "channel_order"]
_BLOCK = 1 << 16
_BINS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
_REASONS = 10
_FACES, _SOURCES = 8, 6
_VARYING = re.compile(r"'[^']*'|\S*/\S*|\d+(\.\d+)?")


def fingerprint(manifest: pd.DataFrame) -> str:
    """32 hexadecimal digits that change with any image, key, identity, split or channel order.

    They depend neither on the order of the rows nor on where the images are stored. (BLAKE2b over the rows
    sorted by key.)
    """
    digest = hashlib.blake2b(digest_size=16)
    order = manifest["key"].astype("string").argsort().to_numpy()
    for start in range(0, len(order), _BLOCK):
        rows = manifest[_DECIDING].iloc[order[start : start + _BLOCK]].astype("string").fillna("")
        lines = rows["key"].str.cat([rows[name] for name in _DECIDING[1:]], sep="\t")
        digest.update("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def describe_dataset(
    manifest: pd.DataFrame, duplicates: pd.DataFrame, overlap: pd.DataFrame, rejected: pd.DataFrame
) -> dict[str, Any]:
    """A data set in numbers, ready for JSON.

    Args:
        manifest: The images.
        duplicates: Of :func:`lafs_pipeline.faces.duplicates.find_duplicates`.
        overlap: Of :func:`lafs_pipeline.faces.overlap.find_overlap`.
        rejected: source, key, reason.

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


def plot_card(manifest: pd.DataFrame, card: dict[str, Any]) -> "Figure":
    """Histograms of a data set, and faces of every source as decoded and with red and blue exchanged.

    Args:
        manifest: The images, their stores at hand.
        card: Of :func:`describe_dataset`.
    """
    from matplotlib.figure import Figure

    sources = list(card["sources"])[:_SOURCES]
    figure = Figure(figsize=(14, 4 + 0.85 * len(sources)), layout="constrained")
    splits = ", ".join(f"{name}: {counts['images']:,}" for name, counts in card["splits"].items())
    figure.suptitle(f"{card['images']:,} images ({splits})   fingerprint {card['fingerprint']}", fontsize=11)
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.6, 0.85 * len(sources) + 0.4])
    left, middle, right = top.subplots(1, 3)
    histogram = card["images_per_identity"]["histogram"]
    left.bar(list(histogram), list(histogram.values()), color="tab:blue")
    left.set(xlabel="training images an identity", ylabel="identities")
    left.tick_params(axis="x", rotation=45)
    _plot_values(
        middle,
        np.maximum(manifest["width"], manifest["height"]).to_numpy(),
        "longer side in the source, pixels",
    )
    _plot_values(right, manifest["score"].dropna().to_numpy(), "detector score")
    decoded, exchanged = bottom.subplots(1, 2)
    tiles = np.concatenate([_row_of_faces(manifest[manifest["source"] == name]) for name in sources])
    decoded.imshow(tiles)
    exchanged.imshow(tiles[..., ::-1])
    decoded.set_title("as decoded", fontsize=10)
    exchanged.set_title("red and blue exchanged: if these look right, `channel_order` is wrong", fontsize=10)
    orders = ["+".join(card["sources"][name]["channel_orders"]) for name in sources]
    names = [f"{name}\n{order}"[:40] for name, order in zip(sources, orders, strict=True)]
    places = np.arange(len(sources)) * FACE_SIZE + FACE_SIZE / 2
    decoded.set_yticks(places, names, fontsize=8)
    exchanged.set_yticks([])
    for axis in (decoded, exchanged):
        axis.set_xticks([])
        axis.set_frame_on(False)
    return figure


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "images": len(rows),
        "identities": int(rows["identity"].nunique()),
        "unlabelled": int(rows["identity"].isna().sum()),
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


def _plot_values(axis: "Axes", values: np.ndarray, name: str) -> None:
    axis.set(xlabel=name, ylabel="images", yscale="log" if len(values) else "linear")
    if len(values):
        axis.hist(values, bins=40, color="tab:blue")
    else:
        axis.text(0.5, 0.5, "not known", ha="center", va="center", transform=axis.transAxes)


def _row_of_faces(rows: pd.DataFrame) -> np.ndarray:
    """Faces from evenly spread places of a source, (112, 8 * 112, 3) uint8."""
    places = np.unique(np.linspace(0, len(rows) - 1, _FACES).round().astype(int))
    images = FaceImages(rows.iloc[places])
    faces = [images[index] for index in range(len(images))]
    faces += [np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)] * (_FACES - len(faces))
    return np.concatenate(faces, axis=1)
