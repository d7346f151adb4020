"""The transformer shared by Part fViT and fViT: tokens in, one embedding out."""

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lafs_pipeline.models.dropout import Dropout, DropPath

NORM_EPSILON = 1e-5


class Attention(nn.Module):
    """Multi-head self-attention with an inner width of its own and the scale `dim ** -0.5`.

    The scale is that of the full width, not of a head, as in the authors' models.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = dim**-0.5
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.projection = nn.Linear(heads * head_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, n, dim) -> (B, n, dim), or (B, queries, dim): what the first `queries` tokens attend to."""
        if queries is None:
            query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        else:
            inner = self.projection.in_features
            query = F.linear(x[:, :queries], self.qkv.weight[:inner])
            query = query.unflatten(2, (self.heads, -1)).transpose(1, 2)
            pair = F.linear(x, self.qkv.weight[inner:])
            key, value = pair.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.dropout(self.projection(out.transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """Pre-norm transformer block with DropPath on both branches."""

    def __init__(
        self, dim: int, heads: int, head_dim: int, mlp_dim: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attention = Attention(dim, heads, head_dim, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = Mlp(dim, mlp_dim)
        self.mlp.drop1, self.mlp.drop2 = Dropout(dropout), Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, n, dim) -> (B, n, dim), or (B, queries, dim): the first `queries` tokens alone."""
        x = self.drop_path(x[:, :queries], x, lambda kept: self.attention(self.norm1(kept), queries))
        return self.drop_path(x, x, lambda kept: self.mlp(self.norm2(kept)))


class FaceTransformer(nn.Module):
    """Tokens (B, n, token_dim), n <= num_tokens -> embeddings (B, dim): the normed class token.

    Part fViT (arXiv 2212.00057), section 3.2. Positions and class token start from N(0, 1). The last block
    computes the class token alone, the only one that is read.

    Attributes:
        recompute: whether the backward pass computes the blocks' activations again instead of keeping them.
    """

    def __init__(
        self,
        token_dim: int,
        num_tokens: int,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.dim = self.num_features = dim
        self.recompute = False
        self.patch_embedding = nn.Linear(token_dim, dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(1, num_tokens + 1, dim))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dim, heads, head_dim, mlp_dim, dropout, drop_path) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Embed tokens.

        Args:
            tokens: (B, n, token_dim).
            positions: (1 or B, n + 1, dim); by default the first n + 1 learned ones.
        """
        if positions is None:
            positions = self.positions[:, : tokens.shape[1] + 1]
        x = torch.cat((self.class_token.expand(tokens.shape[0], -1, -1), self.patch_embedding(tokens)), dim=1)
        x = self.dropout(x + positions)
        for block in self.blocks[:-1]:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.norm(self.blocks[-1](x, queries=1)[:, 0])

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Set `recompute`, by timm's name."""
        self.recompute = enable

    def positions_of(self, indices: Tensor) -> Tensor:
        """Positions (B, n + 1, dim) of the class token and of the tokens numbered `indices` (B, n)."""
        own = F.embedding(indices, self.positions[0, 1:])
        return torch.cat((self.positions[:, :1].expand(len(indices), -1, -1), own), dim=1)
