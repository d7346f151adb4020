"""Nodes of the export pipeline."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelExportSettings, parse

if TYPE_CHECKING:
    from lafs_pipeline.interop.model_export import ModelExport
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Models = dict[str, Callable[[], PartFViT | FViT]]


def export_backbones(
    backbones: "Models", dataset_card: dict[str, Any], parameters: dict[str, Any]
) -> dict[str, "ModelExport"]:
    """The pretrained backbones with their cards."""
    from lafs_pipeline.models.methods import SCRATCH

    return {
        name: _export(load(), dataset_card, parameters) for name, load in backbones.items() if name != SCRATCH
    }


def export_face_models(
    face_models: "Models",
    backbone_digests: dict[str, str | None],
    dataset_card: dict[str, Any],
    adapt_faces: pd.DataFrame | None,
    benchmarks: pd.DataFrame,
    parameters: dict[str, Any],
) -> dict[str, "ModelExport"]:
    """The face models with their cards; those of a backbone were adapted with `adapt_faces`.

    Models of timm are timm's to export.
    """
    from lafs_pipeline.models.timm_model import TimmModel

    models = {name: load() for name, load in face_models.items()}
    return {
        name: _export(
            model, dataset_card, parameters, adapt_faces if name in backbone_digests else None, benchmarks
        )
        for name, model in models.items()
        if not isinstance(model, TimmModel)
    }


def _export(
    model: "PartFViT | FViT",
    dataset_card: dict[str, Any],
    parameters: dict[str, Any],
    adapt_faces: pd.DataFrame | None = None,
    benchmarks: pd.DataFrame | None = None,
) -> "ModelExport":
    from lafs_pipeline.interop.model_card import describe_model, describe_training
    from lafs_pipeline.interop.model_export import ModelExport
    from lafs_pipeline.models.digest import model_digest

    options = parse(ModelExportSettings, parameters, "model_export")
    training = describe_training(dataset_card, adapt_faces)
    card = describe_model(model, model_digest(model), training, benchmarks)
    return ModelExport(model, card, tuple(options.formats))
