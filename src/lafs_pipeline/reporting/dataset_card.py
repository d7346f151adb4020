"""Pictures of a data set: a sheet of its faces, and its card."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import evenly_spaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, COLUMNS = 8, 10
LEAST_COLUMNS = 5
"""So that the title has room."""
CARD_FACES, CARD_SOURCES = 8, 6


def plot_contact_sheet(manifest: pd.DataFrame) -> "Figure":
    """Some faces of every split, a row per identity; unlabeled faces in a row of their own."""
    from matplotlib.figure import Figure

    counts = manifest["split"].value_counts()
    rows = [row for split in counts.index for row in _rows(manifest, split, max(1, ROWS // len(counts)))]
    columns = max([LEAST_COLUMNS, *(len(faces) for _, faces in rows)])
    figure = Figure(figsize=(columns, ROWS + 0.6), layout="constrained")
    figure.suptitle(", ".join(f"{split}: {count:,} images" for split, count in counts.items()))
    axes = figure.subplots(ROWS, columns)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[], frame_on=False)
    for line, (name, faces) in zip(axes, rows, strict=False):
        line[0].set_ylabel(name, fontsize=6)
        images = FaceImages(faces)
        for axis, index in zip(line, range(len(images)), strict=False):
            axis.imshow(images[index])
    return figure


def _rows(manifest: pd.DataFrame, split: str, rows: int) -> list[tuple[str, pd.DataFrame]]:
    """Names and faces of the identities of a split that have most images."""
    members = manifest[manifest["split"] == split]
    names = members["identity"].fillna("unlabeled")
    chosen = names.value_counts().head(rows).index
    return [(f"{split}\n{name}"[:40], members[names == name].head(COLUMNS)) for name in chosen]


def plot_card(manifest: pd.DataFrame, card: dict[str, Any]) -> "Figure":
    """Histograms of a data set, and faces of every source as decoded and with red and blue exchanged."""
    from matplotlib.figure import Figure

    sources = list(card["sources"])[:CARD_SOURCES]
    figure = Figure(figsize=(14, 4 + 0.85 * len(sources)), layout="constrained")
    splits = ", ".join(f"{name}: {counts['images']:,}" for name, counts in card["splits"].items())
    figure.suptitle(f"{card['images']:,} images ({splits})   fingerprint {card['fingerprint']}", fontsize=11)
    heights = [3.6, 0.85 * len(sources) + 0.4]
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    left, middle, right = top.subplots(1, 3)
    histogram = card["images_per_identity"]["histogram"]
    left.bar(list(histogram), list(histogram.values()), color="tab:blue")
    left.set(xlabel="training images per identity", ylabel="identities")
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


def _plot_values(axis: "Axes", values: np.ndarray, name: str) -> None:
    axis.set(xlabel=name, ylabel="images", yscale="log" if len(values) else "linear")
    if len(values):
        axis.hist(values, bins=40, color="tab:blue")
    else:
        axis.text(0.5, 0.5, "not known", ha="center", va="center", transform=axis.transAxes)


def _row_of_faces(rows: pd.DataFrame) -> np.ndarray:
    """Faces from evenly spread places of a source, (112, 8 * 112, 3) uint8."""
    faces = list(FaceImages(rows.iloc[evenly_spaced(len(rows), CARD_FACES)]).stack())
    faces += [np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8)] * (CARD_FACES - len(faces))
    return np.concatenate(faces, axis=1)
