"""From uint8 images to the input of the models."""

import torch


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Scale uint8 images to [-1, 1], as x / 127.5 - 1.

    Args:
        images: (..., H, W, 3) uint8 RGB, on any device.

    Returns:
        (..., 3, H, W) float32, contiguous.
    """
    channels_first = images.movedim(-1, -3)
    return channels_first.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)
