"""Landmark augmentations of LAFS (arXiv 2403.08161), on the training device, and landmark geometry.

Landmarks are (x, y) in pixels as :func:`models.patches.sample_patches` reads them: the image spans 0 to its
width, and the center of its first pixel stands at 0.5.
"""

import torch

from lafs_pipeline.runtime.errors import LafsError


def perturb_landmarks(landmarks: torch.Tensor, sigma: float, generator: torch.Generator) -> torch.Tensor:
    """Add independent N(0, sigma^2) noise to every coordinate; the result may lie outside the image.

    Args:
        landmarks: (..., N, 2) pixels.
        sigma: standard deviation in pixels.
        generator: on the landmarks' device.
    """
    noise = torch.randn(landmarks.shape, generator=generator, device=landmarks.device, dtype=landmarks.dtype)
    return landmarks + sigma * noise


def draw_subsets(
    batch: int,
    available: int,
    count: int,
    generator: torch.Generator,
    with_replacement: bool = True,
) -> torch.Tensor:
    """Draw `count` of `available` landmarks for every sample, each sample on its own.

    Args:
        batch: number of samples B.
        available: landmarks to draw from.
        count: landmarks to draw.
        generator: its device is that of the result.
        with_replacement: whether a landmark may be drawn more than once, as in the authors' code.

    Returns:
        (B, count) int64, in the order drawn.

    Raises:
        LafsError: more landmarks are asked for than there are, without replacement.
    """
    device = generator.device
    if with_replacement:
        return torch.randint(available, (batch, count), generator=generator, device=device)
    if count > available:
        raise LafsError(
            f"{count} landmarks cannot be drawn from {available} without replacement: "
            "lower the number of landmarks (local_landmarks) or set with_replacement to true."
        )
    return torch.rand(batch, available, generator=generator, device=device).argsort(dim=1)[:, :count]


def take_landmarks(landmarks: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Landmarks (B, N, 2) at the places `chosen` (B, k) of every sample, as (B, k, 2)."""
    return landmarks.gather(1, chosen[..., None].expand(-1, -1, 2))


def transform_landmarks(
    landmarks: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int
) -> torch.Tensor:
    """Move landmarks of the source image into views, as :func:`render.resized_crop` moves its pixels.

    Args:
        landmarks: (N, 2) or (V, N, 2) pixels of the source image.
        boxes: (V, 4) crop x, y, width, height in whole pixels.
        flips: (V,) whether the view is mirrored.
        size: side of the views in pixels.

    Returns:
        (V, N, 2) pixels of the views; landmarks outside the crop lie outside the view. A mirrored landmark
        keeps its place in the order.
    """
    boxes = boxes.to(landmarks.dtype)[:, None]
    x, y = ((landmarks - boxes[..., :2]) * (size / boxes[..., 2:])).unbind(-1)
    return torch.stack([torch.where(flips[:, None], size - x, x), y], dim=-1)


def restore_landmarks(
    landmarks: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int
) -> torch.Tensor:
    """Move landmarks of views back into the source image: the inverse of :func:`transform_landmarks`.

    Args:
        landmarks: (V, N, 2) pixels of the views.
        boxes: (V, 4) crop x, y, width, height in whole pixels of the source image.
        flips: (V,) whether the view is mirrored.
        size: side of the views in pixels.

    Returns:
        (V, N, 2) pixels of the source image.
    """
    boxes = boxes.to(landmarks.dtype)[:, None]
    x, y = landmarks.unbind(-1)
    unmirrored = torch.stack([torch.where(flips[:, None], size - x, x), y], dim=-1)
    return unmirrored * (boxes[..., 2:] / size) + boxes[..., :2]
