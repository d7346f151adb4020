"""Nodes of the export pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelExportSettings, parse

if TYPE_CHECKING:
    from lafs_pipeline.interop.model_export import ModelExport
    from lafs_pipeline.models.part_fvit import FViT, PartFViT


def export_model(
    model: "PartFViT | FViT",
    dataset_card: dict[str, Any],
    parameters: dict[str, Any],
    adapt_faces: pd.DataFrame | None = None,
    benchmarks: pd.DataFrame | None = None,
) -> "ModelExport":
    """A model with its card; `adapt_faces` are those that it was adapted with."""
    from lafs_pipeline.interop.model_card import describe_model, describe_training
    from lafs_pipeline.interop.model_export import ModelExport
    from lafs_pipeline.models.digest import model_digest

    options = parse(ModelExportSettings, parameters, "model_export")
    training = describe_training(dataset_card, adapt_faces)
    card = describe_model(model, model_digest(model), training, benchmarks)
    return ModelExport(model, card, tuple(options.formats))
