"""What a face model looks at."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.faces.subsets import evenly_spaced
from lafs_pipeline.models.attention_maps import attention_maps
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.views.normalize import to_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
SMALLEST, LARGEST = 6.0, 48.0
"""Areas of a dot in square points, without attention and with the most."""


def show_attention(model: PartFViT | FViT, manifest: pd.DataFrame, count: int) -> "Figure":
    """Faces that the model was not trained on, where there are any, evenly spread over the manifest."""
    unseen = manifest[manifest["split"] != TRAIN]
    faces = unseen if len(unseen) else manifest
    pictures = FaceImages(faces.iloc[evenly_spaced(len(faces), count)]).stack()
    attention, places = attention_maps(model, to_input(torch.from_numpy(pictures)))
    return plot_attention(pictures, places.numpy(), attention.mean(dim=1).numpy())


def plot_attention(images: np.ndarray, places: np.ndarray, attention: np.ndarray) -> "Figure":
    """Faces in gray with a dot at every token: its area and color are the attention that the token gets.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        places: (n, N, 2) in pixels, where the center of the first pixel stands at 0.5.
        attention: (n, N + 1), rows that sum to 1; the first is the class token's to itself.
    """
    from matplotlib.figure import Figure

    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(5.2, 2.0 * rows + 0.7), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    percent = 100 * attention
    most = percent[:, 1:].max()
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, image, points, shares in zip(axes.ravel(), images, places, percent, strict=False):
        height, width = image.shape[:2]
        axis.imshow(image.mean(axis=2), extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=255)
        order = np.argsort(shares[1:])
        area = SMALLEST + (LARGEST - SMALLEST) * shares[1:] / most
        dots = axis.scatter(
            *points[order].T,
            c=shares[1:][order],
            s=area[order],
            cmap="viridis",
            vmin=0,
            vmax=most,
            edgecolors="white",
            linewidths=0.5,
        )
        axis.set(xlim=(0, width), ylim=(height, 0))
        axis.set_title(f"on itself {shares[0]:.1f} %", fontsize=9)
    bar = figure.colorbar(dots, ax=axes, orientation="horizontal", aspect=50)
    even = 100 / attention.shape[1]
    bar.set_label(f"attention to a token, mean over heads, % (an even share is {even:.1f})", fontsize=9)
    return figure
