"""Nodes of the adapt pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import FViT, PartFViT


def choose_shots(faces: pd.DataFrame, parameters: dict[str, Any], seed: int) -> pd.DataFrame:
    """The labeled faces that adaptation may see."""
    from lafs_pipeline.training.recipes import AdaptSettings, choose_adaptation_faces

    return choose_adaptation_faces(faces, parse(AdaptSettings, parameters, "adapt"), seed)


def start_from_scratch(backbone: "PartFViT | FViT", seed: int) -> "PartFViT | FViT":
    """The same model with a transformer that has learned nothing."""
    from lafs_pipeline.training.recipes import forget_transformer

    return forget_transformer(backbone, seed)


def adapt_model(
    start: "PartFViT | FViT",
    shots: pd.DataFrame,
    network: "LandmarkNetwork",
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
    variant: str,
) -> "PartFViT | FViT":
    """A face model trained with a margin loss from `start`, its landmarks held near those of stage 1."""
    from lafs_pipeline.pipelines.workplace import workplace
    from lafs_pipeline.reporting.landmarks import landmarks_picture
    from lafs_pipeline.training.jobs import train_recognition
    from lafs_pipeline.training.recipes import AdaptSettings

    options = parse(AdaptSettings, parameters, "adapt")
    place = workplace(f"adapt_{variant}", checkpoints, seed, launch)
    return train_recognition(
        f"adapt_{variant}", start, shots, options.recognition, place, network, landmarks_picture
    )


def probe(
    lafs: "PartFViT | FViT",
    scratch: "PartFViT | FViT",
    stage1: "PartFViT",
    faces: pd.DataFrame,
    shots: pd.DataFrame,
    parameters: dict[str, Any],
    evaluate_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
) -> pd.DataFrame:
    """Linear probe and k-NN on frozen models, from the shots to the identities' other training images.

    Stage 1 has seen the labels of those images: its row is what they can give at most.
    """
    from lafs_pipeline.evaluation.backbone_probes import choose_probe_faces, probe_backbones
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings
    from lafs_pipeline.training.recipes import AdaptSettings

    options = parse(AdaptSettings, parameters, "adapt")
    gallery, queries = choose_probe_faces(faces, shots, options.probe_identities, seed)
    models = {"lafs": lafs, "scratch": scratch, "stage1": stage1}
    evaluate = parse(EvaluateSettings, evaluate_parameters, "evaluate")
    return probe_backbones(models, gallery, queries, evaluate, parse(LaunchSettings, launch, "launch"))
