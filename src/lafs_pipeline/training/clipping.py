"""Gradient norms and their clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None, mode: str) -> Tensor:
    """Scale gradients down where their norm exceeds `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: None clips nothing.
        mode: `parameter` clips every gradient by its own norm (DINO), `global` all by their common one.

    Returns:
        The largest norm (`parameter`) or the common one (`global`) before clipping, a scalar tensor.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if mode == "global":
        norm = nn.utils.get_total_norm(gradients)
        if max_norm is not None:
            torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm
    norms = torch.stack(torch._foreach_norm(gradients))
    if max_norm is not None:
        scales = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))
    return norms.max()
