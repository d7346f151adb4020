"""Dropout and stochastic depth that cost little on a CPU.

torch draws one random number an element, which on a CPU takes longer than the element's share of the matrix
products in a transformer step; here four elements share one draw of 64 bits. Stochastic depth computes a
branch for the samples that keep it and no others. On GPUs torch's own kernels are the quicker ones.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16


class _MaskedScale(torch.autograd.Function):
    """`x * mask * scale`, of which only the mask is kept for the backward pass, in a byte an element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask.to(torch.uint8))
        ctx.scale = scale
        return (x * mask.to(x.dtype)).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return (gradient * mask.to(gradient.dtype)).mul_(ctx.scale), None, None


def random_mask(shape: torch.Size, probability: float) -> Tensor:
    """Independent zeros and ones on the CPU in float32, zero with `probability` (in steps of 2^-16).

    They come from torch's default generator.

    Args:
        shape: of the mask.
        probability: in [0, 1).
    """
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    mask = torch.empty(count)
    # A comparison that writes float32 is vectorized; one that writes booleans is not.
    torch.ge(bits[:count], round(probability * LEVELS) - LEVELS // 2, out=mask)
    return mask.view(shape)


class Dropout(nn.Module):
    """Zero elements with `probability` and scale the others by `1 / (1 - probability)`, in training mode."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.probability)
        return _MaskedScale.apply(x, random_mask(x.shape, self.probability), 1 / (1 - self.probability))


class DropPath(nn.Module):
    """Residual branches that a sample skips with `probability` (stochastic depth, arXiv 1603.09382)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, residual: Tensor, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """`residual + branch(x)`, with the branch dropped or scaled by `1 / (1 - probability)` in training.

        Args:
            residual: (B, m, dim).
            x: (B, n, dim), what the branch computes from.
            branch: (b, n, dim) -> (b, m, dim), each sample on its own.
        """
        if not self.training or self.probability == 0:
            return residual + branch(x)
        scale = 1 / (1 - self.probability)
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            kept = torch.rand(len(x), 1, 1, device=x.device) >= self.probability
            return residual + branch(x) * (kept * scale).to(x.dtype)
        # Zero samples are computed as well: parameters without gradients would leave other processes waiting.
        kept = random_mask(torch.Size((len(x),)), self.probability).nonzero()[:, 0]
        return residual.index_add(0, kept, branch(x.index_select(0, kept)).to(residual.dtype), alpha=scale)
