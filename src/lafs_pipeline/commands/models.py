"""A model of any format, with its card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lafs_pipeline.interop.any_model import OWN, open_network
from lafs_pipeline.interop.model_card import read_card
from lafs_pipeline.interop.model_export import WEIGHTS
from lafs_pipeline.interop.onnx_model import OnnxModel
from lafs_pipeline.models.choice import ModelChoice
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.processes import local_device

SUFFIXES = (".safetensors", ".onnx", ".pth")


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
    if file.suffix not in SUFFIXES:
        raise LafsError(f"{path} is no model: expected a .safetensors, .onnx or .pth file, or their folder")
    model = open_network(ModelChoice(path=str(file)))
    device = local_device()
    digest = model.metadata[OWN] if isinstance(model, OnnxModel) else model_digest(model)
    card = read_card(file.parent)
    own = card if card and card["model_digest"] == digest else None
    return OpenModel(model.to(device), device, digest, own)
