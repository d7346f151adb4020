"""Landmark augmentation of LAFS: noise on the coordinates, and which landmarks a view keeps.

Source: LAFS (CVPR 2024, arXiv 2403.08161), section 3.
"""

import torch
from torch import Tensor


def perturb_landmarks(landmarks: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add i.i.d. Gaussian noise to both coordinates, unclamped.

    Args:
        landmarks: (..., N, 2) pixels.
        sigma: standard deviation in pixels.
        generator: on the landmarks' device.
    """
    noise = torch.randn(
        landmarks.shape, generator=generator, device=landmarks.device, dtype=landmarks.dtype
    )
    return landmarks + sigma * noise


def subset_landmarks(
    landmarks: Tensor, count: int, generator: torch.Generator, with_replacement: bool = True
) -> Tensor:
    """Draw `count` landmarks of every sample, in random order.

    Args:
        landmarks: (B, N, 2).
        count: at most N without replacement.
        generator: on the landmarks' device.
        with_replacement: whether a landmark can come more than once, as in the authors' code.

    Returns:
        (B, count, 2).
    """
    batch, number = landmarks.shape[:2]
    if with_replacement:
        chosen = torch.randint(
            number, (batch, count), generator=generator, device=landmarks.device
        )
    else:
        keys = torch.rand(batch, number, generator=generator, device=landmarks.device)
        chosen = keys.argsort(dim=1)[:, :count]
    return landmarks.take_along_dim(chosen[:, :, None], dim=1)


def shuffle_landmarks(landmarks: Tensor, generator: torch.Generator) -> Tensor:
    """Put the landmarks (B, N, 2) of every sample in a random order."""
    return subset_landmarks(landmarks, landmarks.shape[1], generator, with_replacement=False)
