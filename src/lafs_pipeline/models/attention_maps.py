"""Where the class token looks: attention of the last block, made again from its weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.transformer import Attention


def class_attention(attention: Attention, x: Tensor) -> Tensor:
    """Attention of the first token, softmax of its scaled products with all tokens (arXiv 1706.03762, 3.2.1).

    Attention itself is computed fused and keeps no weights.

    Args:
        attention: of a block.
        x: (B, n, dim), what it attends from.

    Returns:
        (B, heads, n), rows that sum to 1.
    """
    inner = attention.projection.in_features
    query = F.linear(x[:, :1], attention.qkv.weight[:inner])
    key = F.linear(x, attention.qkv.weight[inner : 2 * inner])
    query, key = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in (query, key))
    return torch.softmax(query @ key.mT * attention.scale, dim=-1).squeeze(2)


def token_places(model: PartFViT | FViT, images: Tensor) -> Tensor:
    """Where tokens are cut: landmarks, or the centers of the grid's patches.

    Args:
        model: cuts n tokens.
        images: (B, 3, 112, 112) in [-1, 1].

    Returns:
        (B, n, 2), x and y in pixels.
    """
    if isinstance(model, PartFViT):
        return model.landmarks(images)
    patch = model.patch_size
    centers = [(torch.arange(side // patch) + 0.5) * patch for side in images.shape[-2:]]
    y, x = torch.meshgrid(*centers, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1).expand(len(images), -1, -1)


@torch.inference_mode()
def attention_maps(model: PartFViT | FViT, images: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of the class token in the last block, the one that the embedding is read from.

    Args:
        model: in eval mode.
        images: (B, 3, 112, 112) in [-1, 1].

    Returns:
        Attention (B, heads, n + 1), to the class token itself and then to token 1 .. n, and the tokens'
        places (B, n, 2) in pixels.
    """
    attention = model.transformer.blocks[-1].attention
    seen: list[Tensor] = []

    def keep(module: Attention, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    hook = attention.register_forward_pre_hook(keep)
    try:
        model(images)
    finally:
        hook.remove()
    return class_attention(attention, seen[0]), token_places(model, images)
