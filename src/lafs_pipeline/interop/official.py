"""The authors' checkpoints of Part fViT and LAFS, safely unpickled into our models, and written for them.

Layouts: a supervised checkpoint is a plain state dict, with or without `module.`; a pretraining
checkpoint is a dict with `student`, `teacher` and training state.
"""

import argparse
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lafs_pipeline.models.dino_head import DINOHead
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.transformer import FaceTransformer
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import refuse_lfs_pointer, whole_file

HEAD_DIM = 64

NAMES = (
    # theirs, ours; # is the number of a layer
    ("pos_embedding", "transformer.positions"),
    ("cls_token", "transformer.class_token"),
    ("patch_to_embedding.", "transformer.patch_embedding."),
    ("mlp_head.0.", "transformer.norm."),
    ("transformer.layers.#.0.fn.norm.", "transformer.blocks.#.norm1."),
    ("transformer.layers.#.0.fn.fn.to_qkv.", "transformer.blocks.#.attention.qkv."),
    ("transformer.layers.#.0.fn.fn.to_out.0.", "transformer.blocks.#.attention.projection."),
    ("transformer.layers.#.1.fn.norm.", "transformer.blocks.#.norm2."),
    ("transformer.layers.#.1.fn.fn.net.0.", "transformer.blocks.#.mlp.fc1."),
    ("transformer.layers.#.1.fn.fn.net.3.", "transformer.blocks.#.mlp.fc2."),
    ("output_layer.1.", "landmark_network.regressor."),
    ("stn.features.0.", "landmark_network.features.0."),
    ("stn.features.#.conv.0.", "landmark_network.features.#.expand.0."),
    ("stn.features.#.conv.1.", "landmark_network.features.#.expand.1."),
    ("stn.features.#.conv.3.", "landmark_network.features.#.depthwise.0."),
    ("stn.features.#.conv.4.", "landmark_network.features.#.depthwise.1."),
    ("stn.features.#.conv.5.fc.0.", "landmark_network.features.#.gate.reduce."),
    ("stn.features.#.conv.5.fc.2.", "landmark_network.features.#.gate.expand."),
    ("stn.features.#.conv.7.", "landmark_network.features.#.project.0."),
    ("stn.features.#.conv.8.", "landmark_network.features.#.project.1."),
)
CLASS_MATRIX = "loss.weight"


def _renaming(rules: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern, str]]:
    """Patterns and replacements; a rule that ends with a dot renames everything that starts so."""
    ends = ((old, new, "" if old.endswith(".") else "$") for old, new in rules)
    return [
        (re.compile("^" + r"(\d+)".join(map(re.escape, old.split("#"))) + end), new.replace("#", r"\1"))
        for old, new, end in ends
    ]


TO_OURS = _renaming(NAMES)
TO_THEIRS = _renaming((ours, theirs) for theirs, ours in NAMES)


def _renamed(name: str, renaming: list[tuple[re.Pattern, str]]) -> str | None:
    """The new name; None where no rule has it."""
    return next(
        (pattern.sub(new, name) for pattern, new in renaming if pattern.match(name)),
        None,
    )


def translate_name(name: str) -> str | None:
    """Our name of a parameter of the authors' Part fViT; None for the class matrix.

    Raises:
        LafsError: for a name that the authors' layout does not have.
    """
    ours = _renamed(name, TO_OURS)
    if ours is None and name != CLASS_MATRIX:
        raise LafsError(f"'{name}' is not a name of the authors' Part fViT layout")
    return ours


def _read(path: Path | str) -> dict:
    path = Path(path)
    if not path.is_file():
        raise LafsError(f"{path} does not exist; expected a checkpoint of the authors' code")
    refuse_lfs_pointer(path)
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


def _transformer_sizes(state: dict[str, Tensor], path: Path | str) -> dict[str, Any]:
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


def is_pretraining(path: Path | str) -> bool:
    """Whether a checkpoint holds student and teacher of a pretraining.

    Raises:
        LafsError: when the file is missing or wants to run code.
    """
    return "teacher" in _read(path)


def save_part_fvit(model: PartFViT | FViT, path: Path | str) -> None:
    """Write a Part fViT as a plain state dict in the authors' names, atomically.

    Raises:
        LafsError: for a model that the layout cannot tell: on the grid, with heads of another width than 64,
            or with a landmark network that is not the published one.
    """
    if not isinstance(model, PartFViT):
        raise LafsError(f"the authors' layout holds a Part fViT; this model is a {type(model).__name__}")
    fixed = {"head_dim": HEAD_DIM, "landmark_width": 1.0, "landmark_coordinates": "joint"}
    if wrong := [f"{name} {model.sizes[name]}" for name, size in fixed.items() if model.sizes[name] != size]:
        raise LafsError(
            f"the authors' layout cannot tell {' and '.join(wrong)}; it stands for head_dim {HEAD_DIM} and "
            "landmark_width 1.0; leave this format out, or train another size"
        )
    state = {
        _renamed(name, TO_THEIRS): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def _ssl_state(path: Path | str, which: str) -> dict[str, Tensor]:
    content = _read(path)
    if which not in content:
        raise LafsError(f"{path} has no '{which}'; its entries are {', '.join(map(str, content))}")
    return _strip(content[which], "module.")


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load_ssl_backbone(path: Path | str, which: str = "teacher") -> FaceTransformer:
    """Open the transformer of a pretraining checkpoint.

    Raises:
        LafsError: when the file is missing, wants to run code, or has another layout.
    """
    return _load_ssl(path, which, {}).transformer


def load_ssl_model(path: Path | str, network: LandmarkNetwork, which: str = "teacher") -> PartFViT:
    """Open the transformer of a pretraining checkpoint, with a landmark network that it lacks.

    Raises:
        LafsError: as :func:`load_ssl_backbone`, or the network finds another number of landmarks.
    """
    own = {f"landmark_{name}": network.sizes[name] for name in ("width", "coordinates")}
    model = _load_ssl(path, which, own)
    wanted, found = (sizes["num_landmarks"] for sizes in (model.sizes, network.sizes))
    if wanted != found:
        raise LafsError(f"{path} takes {wanted} landmarks, the landmark network finds {found}")
    model.landmark_network = network
    return model.eval()


def _load_ssl(path: Path | str, which: str, sizes: dict[str, Any]) -> PartFViT:
    state = _translate(_part(_ssl_state(path, which), "backbone."), path)
    model = PartFViT(**_transformer_sizes(state, path), **sizes)
    _load(model.transformer, _part(state, "transformer."), path)
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
