"""Floating-point operations of the models, which a share of a device's peak rate is computed from."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.timm_model import TimmModel


def embedding_operations(model: PartFViT | FViT, tokens: int) -> int:
    """Operations of the transformer on one sample of so many tokens, a multiply-add being two."""
    with torch.device("meta"):
        transformer = type(model)(**model.sizes).transformer
    return _counted(transformer, tokens, transformer.patch_embedding.in_features)


def landmark_operations(network: LandmarkNetwork) -> int:
    """Operations of the landmark network on one face, a multiply-add being two."""
    with torch.device("meta"):
        blank = type(network)(**network.sizes)
    return _counted(blank.features, 3, FACE_SIZE, FACE_SIZE) + 2 * blank.regressor.weight.numel()


def timm_operations(model: TimmModel) -> int:
    """Operations of a model of timm on one face, a multiply-add being two."""
    return _counted(copy.deepcopy(model).to("meta"), 3, FACE_SIZE, FACE_SIZE)


def _counted(module: nn.Module, *shape: int) -> int:
    with FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops()
