"""Which parameters are trained, and in which groups of an optimizer."""

import re
from collections import defaultdict
from typing import Any

from torch import nn

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.models.timm_model import FaceModel
from lafs_pipeline.runtime.errors import LafsError

BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
FIRST_LAYER = re.compile(
    r"(?:^|\.)(?:class_token|positions|patch_embedding|landmark_network"
    r"|cls_token|reg_token|pos_embed|patch_embed|norm_pre)\b"
)
"""Names of ours, and of timm's vision transformers."""
LANDMARK_TRUNK = re.compile(r"(?:^|\.)landmark_network\.features\.")


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices with weight decay, biases and other 1-D parameters without (as DINO)."""
    return layer_decay_groups(model, weight_decay, layer_decay=1.0, landmark_weight_decay=weight_decay)


def layer_decay_groups(
    model: nn.Module, weight_decay: float, layer_decay: float, landmark_weight_decay: float
) -> list[dict[str, Any]]:
    """Optimizer groups with layer-wise learning-rate decay (BEiT's rule, as Part fViT's fine-tuning).

    With d = `layer_decay` and L blocks the learning rate of layer i is scaled by d^(L + 1 - i): layer 0
    is the class token, positions, patch embedding and landmark network, block i is layer i + 1,
    everything else layer L + 1.

    Args:
        model: its trainable parameters are grouped; frozen blocks count as layers.
        weight_decay: for parameters of two and more dimensions.
        layer_decay: d; 1.0 gives all layers one learning rate.
        landmark_weight_decay: instead of `weight_decay` in the trunk of the landmark network.

    Returns:
        Groups with `params`, `names`, `lr_scale` and `weight_decay`.
    """
    blocks = (int(found[1]) + 1 for name, _ in model.named_parameters() if (found := BLOCK.search(name)))
    last = 1 + max(blocks, default=0)
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named:
        if block := BLOCK.search(name):
            layer = int(block[1]) + 1
        else:
            layer = 0 if FIRST_LAYER.search(name) else last
        decay = landmark_weight_decay if LANDMARK_TRUNK.search(name) else weight_decay
        groups[layer_decay ** (last - layer), decay if parameter.ndim > 1 else 0.0].append((name, parameter))
    return [
        {
            "params": [parameter for _, parameter in members],
            "names": [name for name, _ in members],
            "lr_scale": scale,
            "weight_decay": decay,
        }
        for (scale, decay), members in groups.items()
    ]


def freeze(model: FaceModel, landmark_network: bool, blocks: int) -> None:
    """Make a model trainable but for the frozen parts.

    Args:
        model: is changed.
        landmark_network: whether its landmark network is frozen; a model on the grid has none.
        blocks: how many blocks are, from the first on. With one or more of them goes what stands before: the
            patch embedding, the class token and the positions.

    Raises:
        LafsError: more blocks than the model has.
    """
    transformer = model.transformer
    if blocks > len(transformer.blocks):
        raise LafsError(
            f"freeze_blocks is {blocks}, but the transformer has {len(transformer.blocks)} blocks; freeze "
            "that many at most"
        )
    model.requires_grad_(True)
    if landmark_network and isinstance(model, PartFViT):
        model.landmark_network.requires_grad_(False)
    for name, parameter in transformer.named_parameters():
        block = BLOCK.search(name)
        if blocks and (int(block[1]) < blocks if block else FIRST_LAYER.search(name)):
            parameter.requires_grad_(False)
