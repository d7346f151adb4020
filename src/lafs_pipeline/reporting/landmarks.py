"""What the landmark network looks at, and how good its landmarks are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lafs_pipeline.reporting.pictures import pixels
from lafs_pipeline.reporting.tables import Kind, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6
POINTS, MEAN_SHAPE = "points_error", "mean_shape_error"
MEASURES = {
    # column of the table of landmark quality -> title, format
    "landmarks": ("landmarks", "{:.0f}"),
    "faces": ("faces", "{:.0f}"),
    POINTS: ("error against annotated points", "{:.1%}"),
    MEAN_SHAPE: ("the mean shape's", "{:.1%}"),
    "crop_px": ("moved by a crop, px", "{:.1f}"),
    "crop_if_still_px": ("if they stood still, px", "{:.1f}"),
    "covered": ("image covered", "{:.0%}"),
}


def landmarks_picture(images: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> np.ndarray:
    """:func:`plot_landmarks` as pixels (H, W, 3) uint8 RGB, which a training logs."""
    return pixels(plot_landmarks(images, landmarks))


def plot_landmarks(images: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> "Figure":
    """Faces with their landmarks; color is a landmark's number, so the same part has the same color.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        landmarks: by title, (n, N, 2) in pixels, where the center of the first pixel stands at 0.5. Several
            sets stand side by side, each on all faces.
    """
    from matplotlib.figure import Figure

    columns = COLUMNS // len(landmarks)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2 * columns * len(landmarks), 2 * rows + 0.6), layout="constrained")
    blocks = figure.subfigures(1, len(landmarks), squeeze=False)[0]
    for block, (title, points) in zip(blocks, landmarks.items(), strict=True):
        block.suptitle(title, fontsize="medium")
        axes = block.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, own in zip(axes, images, points, strict=False):
            _draw_face(axis, image, own)
    return figure


def _draw_face(axis: "Axes", image: np.ndarray, points: np.ndarray) -> None:
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))
    x, y = points.T
    axis.scatter(x, y, c=np.arange(len(points)), cmap="turbo", s=14, edgecolors="white", linewidths=0.4)
    axis.set(xlim=(0, width), ylim=(height, 0))


def quality_table(quality: pd.DataFrame) -> Table:
    """The landmark network before and after its training, in what is known of it.

    Args:
        quality: of :func:`lafs_pipeline.evaluation.landmarks.quality.compare_landmarks`.
    """
    known = {name: how for name, how in MEASURES.items() if name in quality and quality[name].notna().all()}
    columns: dict[str, Kind] = {"training": "text", **{title: "number" for title, _ in known.values()}}
    rows = [
        [row["training"], *(shape.format(row[name]).replace("%", " %") for name, (_, shape) in known.items())]
        for row in quality.to_dict("records")
    ]
    return Table(columns, rows)


def quality_sentence(quality: pd.DataFrame) -> str:
    """Whether trained landmarks tell more of a face than what ignores it does, in the figures that are known.

    Args:
        quality: as for :func:`quality_table`.
    """
    trained = quality.iloc[-1]
    if POINTS in quality and pd.notna(trained[POINTS]):
        own, other = round(trained[POINTS], 3), round(trained[MEAN_SHAPE], 3)
        return (
            f"From the landmarks annotated points are told to {own:.1%} of the distance of the eyes, by the "
            f"mean shape, which ignores the image, to {other:.1%}: landmarks tell {_more(own, other)} than "
            "that."
        ).replace("%", " %")
    own, other = round(trained["crop_px"], 1), round(trained["crop_if_still_px"], 1)
    return (
        f"No annotated points are known. In a crop of the face landmarks are found {own:.1f} px beside their "
        f"place, landmarks that stand still would be {other:.1f} px: they follow it {_more(own, other)} than "
        "that."
    )


def _more(error: float, other: float) -> str:
    return "more" if error < other else "no more"
