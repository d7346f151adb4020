"""Any model that is benchmarked: of ours, the authors', timm or as ONNX, behind one form of input."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from lafs_pipeline.interop.model_export import WEIGHTS
from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.interop.official import is_pretraining, load_part_fvit, load_ssl_model
from lafs_pipeline.interop.onnx_model import OnnxModel
from lafs_pipeline.interop.timm_start import load_timm
from lafs_pipeline.models.choice import ARCFACE, EMBEDDINGS, ModelChoice
from lafs_pipeline.models.embedding_file import EmbeddingFile
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import IMAGE_SIZE, PartFViT
from lafs_pipeline.models.preprocessing import Preprocessed, preprocessing_of
from lafs_pipeline.models.timm_model import TimmModel
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

CHECKPOINTS = (".pth", ".pt", ".ckpt")
OWN = "model_digest"
"""By which our exports are told, in the metadata of an ONNX file."""


def open_any(choice: ModelChoice) -> nn.Module | EmbeddingFile:
    """As :func:`open_network`, or embeddings in place of a network.

    Raises:
        LafsError: as there, or as :class:`EmbeddingFile`.
    """
    path = Path(choice.path).expanduser()
    return EmbeddingFile(path) if path.suffix in EMBEDDINGS else open_network(choice)


def open_network(choice: ModelChoice) -> nn.Module:
    """A model that takes images (B, 3, 112, 112) in [-1, 1], in eval mode.

    Raises:
        LafsError: the file is missing, damaged or embeds no faces, or something of it has to be stated.
    """
    path = Path(choice.path).expanduser()
    file = path / WEIGHTS if path.is_dir() else path
    model: Any
    if file.suffix == ".onnx":
        model = _open_onnx(file, choice)
    elif file.suffix == ".safetensors":
        model = _in_stated_range(load_model(file), file, choice)
    elif file.suffix in CHECKPOINTS:
        whole = _open_pretraining(file, choice) if is_pretraining(file) else load_part_fvit(file)
        model = _in_stated_range(whole, file, choice)
    elif path.is_file():
        raise LafsError(
            f"{path} is no model: expected a .safetensors, .onnx, .pth, .parquet or .npy file, a name of "
            "timm, or local-dir:FOLDER"
        )
    else:
        model = _in_stated_range(load_timm(choice.path, choice.image_size), path, choice)
    if choice.template != ARCFACE:
        model.preprocessing = f"{preprocessing_of(model)}, trained on {choice.template}"
    return model.eval()


def _in_stated_range(model: nn.Module, file: Path, choice: ModelChoice) -> nn.Module:
    """A model that takes images in [-1, 1], fed as it is stated where that is another way."""
    if isinstance(model, LandmarkNetwork):
        raise LafsError(f"{file} is a landmark network, which embeds no faces; expected a face model")
    size = getattr(model, "image_size", IMAGE_SIZE)
    if choice.image_size not in (None, size):
        raise LafsError(f"{file} takes images of {size} pixels, and image_size is {choice.image_size}")
    if choice.mean is None and choice.std is None and choice.channels in (None, "rgb"):
        return model
    return Preprocessed(model.transformer if isinstance(model, TimmModel) else model, choice, size)


def _open_onnx(file: Path, choice: ModelChoice) -> nn.Module:
    graph = OnnxModel(file, choice.output, choice.image_size)
    if OWN in graph.metadata:
        return _in_stated_range(graph, file, choice)
    model = Preprocessed(graph, choice, graph.image_size)
    if choice.mean is None and choice.std is None and choice.channels is None:
        logger.warning(
            "%s does not tell how it was trained and gets %s; state mean, std and channels otherwise",
            file,
            model.preprocessing,
        )
        model.preprocessing += " (assumed)"
    if graph.is_unit:
        model.preprocessing += ", embeddings of length 1"
    return model


def _open_pretraining(file: Path, choice: ModelChoice) -> nn.Module:
    """A backbone of the authors' with a landmark network, without which it has no tokens."""
    if choice.landmarks is None:
        raise LafsError(
            f"{file} is a pretraining's checkpoint, whose backbone takes patches at landmarks: name its "
            "landmark network as `landmarks`, a .safetensors file of ours or the authors' stage-1 checkpoint"
        )
    return load_ssl_model(file, _landmark_network(Path(choice.landmarks).expanduser()), choice.network)


def _landmark_network(path: Path) -> LandmarkNetwork:
    model = load_part_fvit(path) if path.suffix in CHECKPOINTS else load_model(path)
    network = model.landmark_network if isinstance(model, PartFViT) else model
    if not isinstance(network, LandmarkNetwork):
        raise LafsError(f"{path} has no landmark network; expected one, or a Part fViT")
    return network
