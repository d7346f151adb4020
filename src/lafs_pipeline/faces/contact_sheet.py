"""A sheet of faces to look at."""

from typing import TYPE_CHECKING

import pandas as pd

from lafs_pipeline.faces.dataset import FaceImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, COLUMNS = 8, 10
LEAST_COLUMNS = 5
"""So that the title has room."""


def plot_contact_sheet(manifest: pd.DataFrame) -> "Figure":
    """Some faces of every split, a row an identity; unlabelled faces in a row of their own."""
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
    names = members["identity"].fillna("unlabelled")
    chosen = names.value_counts().head(rows).index
    return [(f"{split}\n{name}"[:40], members[names == name].head(COLUMNS)) for name in chosen]
