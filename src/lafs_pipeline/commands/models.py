"""A model of any format, with its card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lafs_pipeline.interop.model_card import read_card
from lafs_pipeline.interop.model_export import WEIGHTS
from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.interop.official import load_part_fvit
from lafs_pipeline.interop.onnx_export import OnnxModel
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.processes import local_device


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready to embed.

    Attributes:
        embed: images (B, 3, 112, 112) in [-1, 1] on `device` -> (B, D).
        device: where it runs.
        digest: SHA-256 of its sizes and weights; None where the file does not tell.
        card: that lies beside the file and is this model's; None where there is none.
    """

    embed: Callable[[Tensor], Tensor]
    device: torch.device
    digest: str | None
    card: dict[str, Any] | None


def open_model(path: Path) -> OpenModel:
    """Open a `.safetensors`, `.onnx` or authors' `.pth` file, or the folder of an exported model.

    Raises:
        LafsError: it is missing, damaged or embeds no faces.
    """
    file = path / WEIGHTS if path.is_dir() else path
    embed: Callable[[Tensor], Tensor]
    if file.suffix == ".onnx":
        graph, device = OnnxModel(file), torch.device("cpu")
        embed, digest = graph, graph.metadata.get("model_digest")
    elif file.suffix in (".safetensors", ".pth"):
        model = load_model(file) if file.suffix == ".safetensors" else load_part_fvit(file)
        if isinstance(model, LandmarkNetwork):
            raise LafsError(f"{file} is a landmark network, which embeds no faces; expected a face model")
        digest, device = model_digest(model), local_device()
        embed = model.to(device)
    else:
        raise LafsError(f"{path} is no model: expected a .safetensors, .onnx or .pth file, or their folder")
    card = read_card(file.parent)
    return OpenModel(embed, device, digest, card if card and card["model_digest"] == digest else None)
