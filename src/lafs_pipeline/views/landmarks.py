"""Landmark augmentations of LAFS (arXiv 2403.08161), on the training device, and landmark geometry.

Landmarks are (x, y) in pixels; an integer is the centre of a pixel.
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


def subset_landmarks(
    landmarks: torch.Tensor, count: int, generator: torch.Generator, with_replacement: bool = True
) -> torch.Tensor:
    """Draw `count` landmarks for every sample, each sample on its own.

    Args:
        landmarks: (B, N, 2).
        count: landmarks to draw.
        generator: on the landmarks' device.
        with_replacement: whether a landmark may be drawn more than once, as in the authors' code.

    Returns:
        (B, count, 2), in the order drawn.

    Raises:
        LafsError: more landmarks are asked for than there are, without replacement.
    """
    batch, available, _ = landmarks.shape
    device = landmarks.device
    if with_replacement:
        chosen = torch.randint(available, (batch, count), generator=generator, device=device)
    elif count <= available:
        chosen = torch.rand(batch, available, generator=generator, device=device).argsort(dim=1)[:, :count]
    else:
        raise LafsError(
            f"{count} landmarks cannot be drawn from {available} without replacement: "
            "lower the number of landmarks (local_landmarks) or set with_replacement to true."
        )
    return landmarks.gather(1, chosen[..., None].expand(-1, -1, 2))


def shuffle_landmarks(landmarks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Permute the landmarks of every sample, each sample on its own.

    Args:
        landmarks: (B, N, 2).
        generator: on the landmarks' device.
    """
    return subset_landmarks(landmarks, landmarks.shape[1], generator, with_replacement=False)


def transform_landmarks(
    landmarks: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int
) -> torch.Tensor:
    """Move landmarks of the source image into views, as :func:`render.resized_crop` moves its pixels.

    Args:
        landmarks: (N, 2) or (V, N, 2) pixels of the source image.
        boxes: (V, 4) crop x, y, width, height.
        flips: (V,) whether the view is mirrored.
        size: side of the views in pixels.

    Returns:
        (V, N, 2) pixels of the views; landmarks outside the crop lie outside the view. A mirrored landmark
        keeps its place in the order.
    """
    boxes = boxes.to(landmarks.dtype)[:, None]
    moved = (landmarks + 0.5 - boxes[..., :2]) * (size / boxes[..., 2:]) - 0.5
    x, y = moved.unbind(-1)
    return torch.stack([torch.where(flips[:, None], size - 1 - x, x), y], dim=-1)
