"""The numeric range that every model takes and gives."""

from torch import Tensor


def to_input(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 in [-1, 1]: x / 127.5 - 1."""
    return images.movedim(-1, -3).float().div_(127.5).sub_(1.0)
