"""Models that timm knows by name, or that lie in a folder in its layout, as starts of an adaptation."""

import json
from pathlib import Path
from typing import Any

import timm

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.timm_model import FaceModel, TimmModel
from lafs_pipeline.runtime.errors import LafsError

FOLDER = "local-dir:"


def load_timm(name: str, image_size: int | None = None) -> FaceModel:
    """A vision transformer with its weights; a model of ours that was exported is that model.

    Args:
        name: `vit_small_patch14_dinov2`, or `local-dir:FOLDER` with `config.json` and weights. A name for
            which timm has no weights begins with random ones.
        image_size: side of the images that it takes; None keeps its own.

    Raises:
        LafsError: timm does not know the name, its weights cannot be had, or it is no vision transformer.
    """
    is_folder, is_elsewhere = name.startswith(FOLDER), ":" in name
    size: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    try:
        pretrained = is_elsewhere or timm.is_model_pretrained(name)
        whole: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, **size)
        if isinstance(whole, PartFViT | FViT):
            return whole.eval()
        data = timm.data.resolve_model_data_config(whole)
        arguments = _arguments(name.removeprefix(FOLDER)) if is_folder else {}
        own_size = arguments.pop("img_size", data["input_size"][-1])
        model = TimmModel(
            whole.pretrained_cfg["architecture"],
            image_size or own_size,
            list(data["mean"]),
            list(data["std"]),
            arguments,
        )
        model.transformer.load_state_dict(whole.state_dict())
    except (RuntimeError, OSError, KeyError, TypeError, ValueError) as error:
        raise LafsError(
            f"timm cannot make a vision transformer of '{name}': {error}. Give a name of "
            "timm.list_models('vit_*'), whose weights are downloaded, or local-dir:FOLDER with config.json "
            "and model.safetensors"
        ) from error
    return model.eval()


def _arguments(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "config.json").read_text(encoding="utf-8")).get("model_args") or {}
