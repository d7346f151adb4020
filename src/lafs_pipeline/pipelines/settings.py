"""The parameter groups of `conf/`, each with the settings it becomes."""

from typing import Literal

from lafs_pipeline.runtime.settings import setting, settings


@settings
class ModelSettings:
    """Which model is trained."""

    name: str = setting("timm name of a Part fViT", "part_fvit_base_patch8_112")
    sizes: dict[str, int | float] = setting("overrides of that model's sizes", {})


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


def parameter_groups() -> dict[str, type]:
    """The groups of `parameters*.yml` and the settings that each becomes."""
    from lafs_pipeline.evaluation.landmark_quality import LandmarkQualitySettings
    from lafs_pipeline.evaluation.settings import EvaluateSettings, ReportSettings
    from lafs_pipeline.evaluation.study import StudySettings
    from lafs_pipeline.faces.planning import CatalogSettings
    from lafs_pipeline.runtime.launch import LaunchSettings
    from lafs_pipeline.training.recipes import AdaptSettings, StageOneSettings
    from lafs_pipeline.training.self_supervised import PretrainSettings

    return {
        "cataloging": CatalogSettings,
        "export": ExportSettings,
        "launch": LaunchSettings,
        "model": ModelSettings,
        "landmarks": StageOneSettings,
        "landmark_quality": LandmarkQualitySettings,
        "pretrain": PretrainSettings,
        "adapt": AdaptSettings,
        "evaluate": EvaluateSettings,
        "report": ReportSettings,
        "study": StudySettings,
        "model_export": ModelExportSettings,
        "tracking": TrackingSettings,
    }
