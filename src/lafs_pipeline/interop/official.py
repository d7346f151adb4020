"""The authors' checkpoints of Part fViT and LAFS, safely unpickled into our models.

Layouts: a supervised checkpoint is a plain state dict, with or without `module.`; a pretraining
checkpoint is a dict with `student`, `teacher` and training state.
"""

import argparse
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from lafs_pipeline.models.dino_head import DINOHead
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.models.transformer import FaceTransformer
from lafs_pipeline.runtime.errors import LafsError

HEAD_DIM = 64

TRANSFORMER_NAMES = (
    (r"^pos_embedding$", "positions"),
    (r"^cls_token$", "class_token"),
    (r"^patch_to_embedding\.", "patch_embedding."),
    (r"^mlp_head\.0\.", "norm."),
    (r"^transformer\.layers\.(\d+)\.0\.fn\.norm\.", r"blocks.\1.norm1."),
    (r"^transformer\.layers\.(\d+)\.0\.fn\.fn\.to_qkv\.", r"blocks.\1.attention.qkv."),
    (r"^transformer\.layers\.(\d+)\.0\.fn\.fn\.to_out\.0\.", r"blocks.\1.attention.projection."),
    (r"^transformer\.layers\.(\d+)\.1\.fn\.norm\.", r"blocks.\1.norm2."),
    (r"^transformer\.layers\.(\d+)\.1\.fn\.fn\.net\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^transformer\.layers\.(\d+)\.1\.fn\.fn\.net\.3\.", r"blocks.\1.mlp.fc2."),
)
LANDMARK_NAMES = (
    (r"^output_layer\.1\.", "regressor."),
    (r"^stn\.features\.0\.", "features.0."),
    (r"^stn\.features\.(\d+)\.conv\.([01])\.", r"features.\1.expand.\2."),
    (r"^stn\.features\.(\d+)\.conv\.3\.", r"features.\1.depthwise.0."),
    (r"^stn\.features\.(\d+)\.conv\.4\.", r"features.\1.depthwise.1."),
    (r"^stn\.features\.(\d+)\.conv\.5\.fc\.0\.", r"features.\1.gate.reduce."),
    (r"^stn\.features\.(\d+)\.conv\.5\.fc\.2\.", r"features.\1.gate.expand."),
    (r"^stn\.features\.(\d+)\.conv\.7\.", r"features.\1.project.0."),
    (r"^stn\.features\.(\d+)\.conv\.8\.", r"features.\1.project.1."),
)
UNUSED_NAMES = (r"^loss\.weight$",)


def translate_name(name: str) -> str | None:
    """Our name of a parameter of the authors' Part fViT; None for the class matrix.

    Raises:
        LafsError: for a name that the authors' layout does not have.
    """
    for rules, prefix in ((TRANSFORMER_NAMES, "transformer."), (LANDMARK_NAMES, "landmark_network.")):
        for pattern, replacement in rules:
            if re.match(pattern, name):
                return prefix + re.sub(pattern, replacement, name)
    if any(re.match(pattern, name) for pattern in UNUSED_NAMES):
        return None
    raise LafsError(f"'{name}' is not a name of the authors' Part fViT layout")


def _read(path: Path | str) -> dict:
    path = Path(path)
    if not path.is_file():
        raise LafsError(f"{path} does not exist; expected a checkpoint of the authors' code")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise LafsError(
            f"{path} is not a checkpoint that can be opened without running its code: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not isinstance(content, dict):
        raise LafsError(f"{path} holds a {type(content).__name__}; expected a dict of tensors")
    return content


def _strip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _translate(state: dict[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    try:
        named = {translate_name(name): tensor for name, tensor in state.items()}
    except LafsError as error:
        raise LafsError(f"{path}: {error}") from None
    named.pop(None, None)
    return named


def _transformer_sizes(state: dict[str, Tensor], path: Path | str) -> dict[str, int]:
    try:
        tokens, dim = state["transformer.positions"].shape[1:]
        return {
            "num_landmarks": tokens - 1,
            "patch_size": round((state["transformer.patch_embedding.weight"].shape[1] / 3) ** 0.5),
            "dim": dim,
            "depth": 1 + max(int(name.split(".")[2]) for name in state if ".blocks." in name),
            "heads": state["transformer.blocks.0.attention.projection.weight"].shape[1] // HEAD_DIM,
            "head_dim": HEAD_DIM,
            "mlp_dim": state["transformer.blocks.0.mlp.fc1.weight"].shape[0],
        }
    except (KeyError, ValueError) as error:
        raise LafsError(f"{path} holds no transformer in the authors' layout: {error}") from error


def _load(model: nn.Module, state: dict[str, Tensor], path: Path | str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise LafsError(f"{path} does not fit the authors' layout: {error}") from error


def load_part_fvit(path: Path | str) -> PartFViT:
    """Open a supervised checkpoint; the sizes are read off its tensors, heads are 64 wide.

    Raises:
        LafsError: when the file is missing, wants to run code, or has another layout.
    """
    state = _translate(_strip(_read(path), "module."), path)
    model = PartFViT(**_transformer_sizes(state, path))
    _load(model, state, path)
    return model.eval()


def _ssl_state(path: Path | str, which: str) -> dict[str, Tensor]:
    content = _read(path)
    if which not in content:
        raise LafsError(f"{path} has no '{which}'; its entries are {', '.join(map(str, content))}")
    return _strip(content[which], "module.")


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_ssl_backbone(path: Path | str, which: str = "teacher") -> FaceTransformer:
    """Open the transformer of a pretraining checkpoint.

    Args:
        path: the checkpoint.
        which: `teacher` or `student`.

    Raises:
        LafsError: when the file is missing, wants to run code, or has another layout.
    """
    state = _translate(_part(_ssl_state(path, which), "backbone."), path)
    sizes = _transformer_sizes(state, path)
    model = PartFViT(**sizes).transformer
    _load(model, _part(state, "transformer."), path)
    return model.eval()


def load_ssl_head(path: Path | str, which: str = "teacher") -> DINOHead:
    """Open the DINO head of a pretraining checkpoint; arguments and errors as the backbone's."""
    state = _part(_ssl_state(path, which), "head.")
    state["last_layer.weight"] = state.pop("last_layer.weight_v")
    state.pop("last_layer.weight_g")
    head = DINOHead(
        dim=state["mlp.0.weight"].shape[1],
        prototypes=state["last_layer.weight"].shape[0],
        hidden_dim=state["mlp.0.weight"].shape[0],
        bottleneck_dim=state["last_layer.weight"].shape[1],
    )
    _load(head, state, path)
    return head.eval()
