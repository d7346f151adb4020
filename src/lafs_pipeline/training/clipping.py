"""Gradient clipping, each parameter by itself."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_each_parameter(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale every gradient whose own norm exceeds `max_norm` down to it (DINO's clipping).

    Returns:
        The largest norm before clipping, a scalar tensor.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))
    scales = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, list(scales.unbind()))
    return norms.max()
