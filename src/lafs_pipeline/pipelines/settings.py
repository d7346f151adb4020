"""The parameter groups of `conf/`, each with the settings it becomes."""

import pkgutil
from typing import Literal

from lafs_pipeline.runtime.settings import setting, settings


@settings
class ModelSettings:
    """Which model is trained."""

    name: str = setting("timm name of a Part fViT", "part_fvit_base_patch8_112")
    sizes: dict[str, int | float | str] = setting("overrides of that model's sizes", {})


@settings
class ExportSettings:
    """What cataloguing also writes for other programs."""

    recordio: str | None = setting("train.rec in InsightFace's layout, of the labelled training faces", None)
    pair_sets: dict[str, str] = setting("benchmark name -> .bin or .rec file of its pairs", {})


@settings
class ModelExportSettings:
    """In which formats models are exported, besides safetensors with a card."""

    formats: list[Literal["onnx", "official"]] = setting(
        "onnx: one graph from images to embeddings; official: the authors' state dict, for a Part fViT with "
        "heads of 64 and the whole landmark network",
        ["onnx"],
    )


@settings
class TrackingSettings:
    """What MLflow gets of a run besides metrics, parameters and files."""

    registered_model: str | None = setting(
        "name in MLflow's model registry under which face_model_lafs gets a new version; null registers none",
        "lafs_face_model",
    )


GROUPS = {
    "cataloging": "lafs_pipeline.faces.planning:CatalogSettings",
    "export": f"{__name__}:ExportSettings",
    "launch": "lafs_pipeline.runtime.launch_settings:LaunchSettings",
    "model": f"{__name__}:ModelSettings",
    "landmarks": "lafs_pipeline.training.recipes:StageOneSettings",
    "landmark_quality": "lafs_pipeline.evaluation.landmark_quality:LandmarkQualitySettings",
    "pretrain": "lafs_pipeline.training.self_supervised:PretrainSettings",
    "adapt": "lafs_pipeline.training.recipes:AdaptSettings",
    "evaluate": "lafs_pipeline.evaluation.settings:EvaluateSettings",
    "report": "lafs_pipeline.evaluation.settings:ReportSettings",
    "study": "lafs_pipeline.evaluation.study:StudySettings",
    "model_export": f"{__name__}:ModelExportSettings",
    "tracking": f"{__name__}:TrackingSettings",
}
"""Where the settings of each group of `parameters*.yml` stand; a pipeline imports those it uses."""


def group_settings(group: str) -> type:
    """The settings that a group of `GROUPS` becomes."""
    return pkgutil.resolve_name(GROUPS[group])
