"""Projection head of DINO."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Cosines(torch.autograd.Function):
    """`x @ w.T / |w|`: inner products of rows x (n, d) with the directions of rows w (K, d).

    Norms divide the logits instead of the K rows, and the gradient of the norms is added in one pass over w;
    autograd on its own would make six arrays of w's size.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        kind = x.device.type
        ctx.precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        norms = torch.linalg.vector_norm(weight, dim=-1)
        logits = F.linear(x, weight)
        logits = logits.div_(norms) if logits.dtype == norms.dtype else logits / norms
        ctx.save_for_backward(x, weight, norms, logits)
        return logits

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, norms, logits = ctx.saved_tensors
        scaled = gradient / norms
        along = (scaled * logits).sum(dim=0) / norms
        with torch.autocast(x.device.type, dtype=ctx.precision, enabled=ctx.precision is not None):
            to_x, to_weight = scaled @ weight, scaled.mT @ x
        return to_x.to(x.dtype), to_weight.to(weight.dtype).addcmul_(weight, along[:, None], value=-1)


class DINOHead(nn.Module):
    """Embeddings (B, dim) -> logits (B, K) over prototypes (DINO, arXiv 2104.14294, section 3.1).

    A three-layer MLP (GELU, no BatchNorm, truncated-normal weights of 0.02) to a bottleneck, L2
    normalization, then a linear map whose rows have norm 1.

    Args:
        dim: width of the embeddings.
        prototypes: K.
        hidden_dim: width of the MLP.
        bottleneck_dim: width before the prototypes.
    """

    def __init__(self, dim: int, prototypes: int, hidden_dim: int = 2048, bottleneck_dim: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = nn.Linear(bottleneck_dim, prototypes, bias=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits, float32 where the weights are: cosines between projected embeddings and prototypes."""
        bottleneck = F.normalize(self.mlp(embeddings), dim=-1)
        return _Cosines.apply(bottleneck, self.last_layer.weight)
