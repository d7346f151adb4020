"""Gradient norms and their clipping."""

from collections.abc import Collection, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lafs_pipeline.runtime import processes


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter],
    max_norm: float | None,
    mode: str,
    sharded: Collection[nn.Parameter] = frozenset(),
) -> Tensor:
    """Scale gradients down where their norm exceeds `max_norm`.

    Args:
        parameters: those without a gradient are passed over.
        max_norm: None clips nothing.
        mode: `parameter` clips every gradient by its own norm (DINO), `global` all by their common one.
        sharded: those among them that hold rows of a matrix whose other rows lie in other processes; their
            norm is that of the whole matrix.

    Returns:
        The largest norm (`parameter`) or the common one (`global`) before clipping, a scalar tensor.
    """
    held = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in held]
    norms = torch.stack(torch._foreach_norm(gradients))
    places = [place for place, parameter in enumerate(held) if parameter in sharded]
    if places and processes.in_group():
        squares = norms[places].square()
        dist.all_reduce(squares)
        norms[places] = squares.sqrt()
    if mode == "global":
        norms = torch.linalg.vector_norm(norms).expand(len(held))
    if max_norm is not None:
        scales = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))
    return norms.max()
