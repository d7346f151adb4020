"""Model files: safetensors weights with the sizes to rebuild the model in the header."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from lafs_pipeline.interop.model_header import FORMAT, open_model_file, provenance_of, sizes_of
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FAMILIES
from lafs_pipeline.models.timm_model import FaceModel, TimmModel
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

Model = FaceModel | LandmarkNetwork
KINDS: dict[str, type[Model]] = FAMILIES | {
    LandmarkNetwork.family: LandmarkNetwork,
    TimmModel.family: TimmModel,
}


def save_model(model: Model, path: Path | str) -> None:
    """Write a face model or landmark network with its digest and provenance, atomically."""
    header = {"format": FORMAT, "family": model.family, "sizes": json.dumps(model.sizes)}
    header["digest"] = model_digest(model)
    if model.provenance is not None:
        header |= asdict(model.provenance)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_model(path: Path | str) -> nn.Module:
    """Rebuild a model from its file, on the CPU and in eval mode.

    Raises:
        LafsError: when the file is missing, damaged or not one of ours.
    """
    path = Path(path)
    with open_model_file(path, "pt") as file:
        family, sizes = sizes_of(path, file)
        provenance = provenance_of(file)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if family not in KINDS:
        raise LafsError(f"model file {path} holds a '{family}'; expected one of {', '.join(KINDS)}")
    try:
        model = KINDS[family](**sizes)
        model.load_state_dict(weights)
        model.provenance = provenance
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LafsError(f"model file {path} does not fit its own header: {error}") from error
    return model.eval()
