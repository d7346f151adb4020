"""Projection head of DINO."""

import torch.nn.functional as F
from torch import Tensor, nn


class DINOHead(nn.Module):
    """Embeddings (B, dim) -> logits (B, K) over prototypes (DINO, arXiv 2104.14294, section 3.1).

    A three-layer MLP (GELU, no BatchNorm, truncated-normal weights of 0.02) to a bottleneck, L2
    normalisation, then a linear map whose rows have norm 1.

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
        """Logits: cosines between the projected embeddings and the prototypes."""
        bottleneck = F.normalize(self.mlp(embeddings), dim=-1)
        return F.linear(bottleneck, F.normalize(self.last_layer.weight, dim=-1))
