"""Patches cut at landmarks, and patches on the plain grid."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_patches(images: Tensor, landmarks: Tensor, patch_size: int = 8) -> Tensor:
    """Cut one patch at every landmark by bilinear sampling (Part fViT, arXiv 2212.00057, section 3.1).

    A landmark at p pixels is sampled at p - patch_size / 2 .. p + patch_size / 2 - 1, where the center
    of the first pixel stands at 0.5 (`align_corners=False`); outside the image is zero. Gradients flow
    to the landmarks.

    Args:
        images: (B, C, H, W).
        landmarks: (B, N, 2), x and y in pixels.
        patch_size: side of a patch in pixels.

    Returns:
        Tokens (B, N, patch_size * patch_size * C): the x offset varies slowest, then the y offset,
        then the channel. Token k belongs to landmark k.
    """
    height, width = images.shape[-2:]
    offset = torch.arange(patch_size, device=images.device, dtype=landmarks.dtype) - patch_size // 2
    offsets = torch.stack(torch.meshgrid(offset, offset, indexing="ij"), dim=-1).flatten(0, 1)
    half = landmarks.new_full((2,), width / 2)
    half[1:].fill_(height / 2)
    grid = (landmarks / half - 1)[:, :, None, :] + offsets / half
    patches = F.grid_sample(
        images.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return patches.permute(0, 2, 3, 1).flatten(2)


def grid_patches(images: Tensor, patch_size: int = 8) -> Tensor:
    """Cut the image into its plain grid of patches, row by row (fViT, Part fViT section 3.2).

    Args:
        images: (B, C, H, W), H and W multiples of `patch_size`.
        patch_size: side of a patch in pixels.

    Returns:
        Tokens (B, H * W / patch_size^2, patch_size * patch_size * C): y, then x, then channel.
    """
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    blocks = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
