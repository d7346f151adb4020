"""Model files: safetensors weights with the sizes to rebuild the model in the header."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FAMILIES
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

FORMAT = "lafs_pipeline.model.1"
KINDS = FAMILIES | {LandmarkNetwork.family: LandmarkNetwork}


def save_model(model: nn.Module, path: Path | str) -> None:
    """Write a face model or landmark network, whole or not at all."""
    header = {"format": FORMAT, "family": model.family, "sizes": json.dumps(model.sizes)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def read_sizes(path: Path | str) -> tuple[str, dict[str, int | float]]:
    """Family and sizes of the model in a file, without its weights.

    Raises:
        LafsError: as :func:`load_model`.
    """
    path = Path(path)
    with _opened(path) as file:
        return _header(path, file)


def load_model(path: Path | str) -> nn.Module:
    """Rebuild a model from its file, on the CPU and in eval mode.

    Raises:
        LafsError: when the file is missing, damaged or not one of ours.
    """
    path = Path(path)
    with _opened(path) as file:
        family, sizes = _header(path, file)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        model = KINDS[family](**sizes)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LafsError(f"model file {path} does not fit its own header: {error}") from error
    return model.eval()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise LafsError(f"model file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise LafsError(f"model file {path} is damaged: {error}; train or copy it again") from error


def _header(path: Path, file: Any) -> tuple[str, dict[str, int | float]]:
    header = file.metadata() or {}
    if header.get("format") != FORMAT or header.get("family") not in KINDS:
        raise LafsError(f"model file {path} was not written by lafs_pipeline (header: {header})")
    try:
        return header["family"], json.loads(header["sizes"])
    except (KeyError, ValueError) as error:
        raise LafsError(f"model file {path} does not fit its own header: {error}") from error
