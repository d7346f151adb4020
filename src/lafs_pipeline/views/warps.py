"""Random warps of a face, with the places to which they move the points of a mesh.

A landmark network learns from them without landmark labels: the points of a mesh that is fixed on the aligned
face are known in every warped copy. Sources: Thewlis et al. (ICCV 2017, arXiv 1705.02193), landmarks that are
equivariant to known warps; Jakab et al. (NeurIPS 2018, arXiv 1806.07823), the warps.

Coordinates are (x, y) in pixels, and an image spans 0 to its width, as in :mod:`models.patches`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lafs_pipeline.views.parameters import WarpSettings

INVERSIONS, DAMPING = 12, 0.7
"""Fixed-point steps that invert a warp, and the share of each that is taken: whole steps overshoot where the
displacement falls steeply."""


@dataclass(frozen=True)
class Warp:
    """Where every pixel of a warped image comes from.

    A point q of the warped image shows the point `similarity^-1(q) + displacement(q)` of the source.

    Attributes:
        inverse: (2, 3) inverse of the similarity.
        displacement: (k, k, 2) pixels, at control points that share out the image as pixels do; between them
            bicubic.
    """

    inverse: np.ndarray
    displacement: np.ndarray

    def source(self, size: int) -> np.ndarray:
        """The source (size, size, 2) of every pixel's center in a warped image."""
        centers = np.arange(size, dtype=np.float32) + 0.5
        grid = np.stack(np.meshgrid(centers, centers), axis=-1)
        dense = cv2.resize(self.displacement, (size, size), interpolation=cv2.INTER_CUBIC)
        return grid @ self.inverse[:, :2].T + self.inverse[:, 2] + dense

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The warped image (S, S, 3) uint8 of an image (S, S, 3) uint8; its border repeats."""
        places = (self.source(len(image)) - 0.5).astype(np.float32)
        return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def move(self, points: np.ndarray, size: int) -> np.ndarray:
        """Where points (N, 2) of the source stand in the warped image, possibly outside it."""
        arrays = (points.astype(np.float32), self.inverse, self.displacement)
        places, inverse, displacement = (torch.from_numpy(array)[None] for array in arrays)
        return move_points(places, inverse, displacement, size)[0].numpy()


def draw_warp(options: WarpSettings, size: int, generator: np.random.Generator) -> Warp:
    """Draw a warp for images of `size` pixels; the generator advances by an amount that the settings fix."""
    angle, log_scale, *shift = generator.normal(size=4) * (
        math.radians(options.rotation),
        options.log_scale,
        options.shift,
        options.shift,
    )
    cosine, sine = math.cos(angle), math.sin(angle)
    linear = math.exp(-log_scale) * np.array([[cosine, sine], [-sine, cosine]], np.float32)
    center = np.full(2, size / 2)
    offset = center - linear @ (center + shift)
    count = options.control_points
    displacement = options.displacement * generator.normal(size=(count, count, 2))
    return Warp(np.column_stack((linear, offset)).astype(np.float32), displacement.astype(np.float32))


@torch.no_grad()
def move_points(points: Tensor, inverses: Tensor, displacements: Tensor, size: int) -> Tensor:
    """Where points of the sources stand in the warped images, possibly outside them.

    Args:
        points: (B, N, 2) pixels.
        inverses: (B, 2, 3), each warp's `inverse`.
        displacements: (B, k, k, 2), each warp's `displacement`.
        size: of the images in pixels.

    Returns:
        (B, N, 2) pixels, in float32 whatever the autocast precision.
    """
    dense = _dense(displacements, size)
    forward, offset = torch.linalg.inv_ex(inverses[:, :, :2]).inverse.mT, inverses[:, None, :, 2]
    with torch.autocast(points.device.type, enabled=False):
        moved = (points - offset) @ forward
        for _ in range(INVERSIONS):
            places = (moved * (2 / size) - 1)[:, None]
            displaced = F.grid_sample(dense, places, padding_mode="border", align_corners=False)[:, :, 0].mT
            moved = moved + DAMPING * ((points - displaced - offset) @ forward - moved)
    return moved


@torch.no_grad()
def warp_images(images: Tensor, inverses: Tensor, displacements: Tensor) -> Tensor:
    """:meth:`Warp.apply` of a whole batch, on the device of `images`.

    Args:
        images: (B, 3, S, S).
        inverses: (B, 2, 3), each warp's `inverse`.
        displacements: (B, k, k, 2), each warp's `displacement`.

    Returns:
        (B, 3, S, S), in float32 whatever the autocast precision.
    """
    size = images.shape[-1]
    centers = torch.arange(0.5, size, device=images.device)
    grid = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), dim=-1).flatten(0, 1)
    with torch.autocast(images.device.type, enabled=False):
        places = grid @ inverses[:, :, :2].mT + inverses[:, None, :, 2]
        places = places.unflatten(1, (size, size)) + _dense(displacements, size).permute(0, 2, 3, 1)
        return F.grid_sample(images, places * (2 / size) - 1, padding_mode="border", align_corners=False)


def _dense(displacements: Tensor, size: int) -> Tensor:
    """The displacement of every pixel (B, 2, size, size)."""
    return F.interpolate(displacements.permute(0, 3, 1, 2), size, mode="bicubic")
