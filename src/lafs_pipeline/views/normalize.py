"""From uint8 images to the input of the models."""

import torch


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Scale uint8 images to [-1, 1], as x / 127.5 - 1.

    Args:
        images: (..., H, W, 3) uint8 RGB, on any device.

    Returns:
        (..., 3, H, W) float32, whose channels lie last in memory as they do in the images.
    """
    return images.movedim(-1, -3).to(torch.float32).div_(127.5).sub_(1.0)
