"""Nodes of the pretrain pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelSettings, parse, parse_with_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.models.embedding import Embeddings
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import FViT, PartFViT


def pretrain_backbones(
    faces: pd.DataFrame,
    network: "LandmarkNetwork",
    landmarks: "Embeddings",
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> dict[str, "PartFViT | FViT"]:
    """The teacher of LAFS, or of plain DINO on the grid, and the same model with a fresh transformer.

    Faces are used without their labels.
    """
    from lafs_pipeline.models.methods import GRID, LAFS, SCRATCH
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.views import views_picture
    from lafs_pipeline.training.jobs import pretrain
    from lafs_pipeline.training.recipe_settings import PretrainSettings
    from lafs_pipeline.training.recipes import forget_transformer, pretraining_start

    train = faces[faces["split"] == "train"]
    count = network.sizes["num_landmarks"]
    options = parse_with_numbers(PretrainSettings, parameters, "pretrain", len(train), count)
    model = parse(ModelSettings, model_parameters, "model")
    start = pretraining_start(model.name, model.sizes, seed, network, options)
    place = run_context("pretrain", checkpoints, seed, launch)
    teacher = pretrain(start, train, options, place, landmarks, views_picture)
    method = GRID if options.tokens == "grid" else LAFS
    return {method: teacher, SCRATCH: forget_transformer(teacher, seed)}


def draw_views(
    faces: pd.DataFrame, network: "LandmarkNetwork", parameters: dict[str, Any], seed: int
) -> "Figure":
    """The ten views of one training face, with the landmarks that become tokens."""
    from lafs_pipeline.reporting.views import show_views
    from lafs_pipeline.training.recipe_settings import PretrainSettings

    train = faces[faces["split"] == "train"]
    count = network.sizes["num_landmarks"]
    options = parse_with_numbers(PretrainSettings, parameters, "pretrain", len(train), count)
    return show_views(train, network, options, seed)
