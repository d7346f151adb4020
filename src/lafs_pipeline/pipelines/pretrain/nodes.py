"""Nodes of the pretrain pipeline."""

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelSettings, parse, parse_pretraining

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.models.embedding import Embeddings
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

logger = logging.getLogger(__name__)


def pretrain_backbones(
    faces: pd.DataFrame,
    network: "LandmarkNetwork | None",
    landmarks: "Embeddings | None",
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> dict[str, "PartFViT | FViT"]:
    """The teacher of each method, and a model with a fresh transformer, which has landmarks where any are.

    Faces are used without their labels. A pretraining that is finished is read from its last checkpoint when
    the node runs again.
    """
    from lafs_pipeline.models.methods import GRID, SCRATCH
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.views import views_picture
    from lafs_pipeline.training.jobs import pretrain
    from lafs_pipeline.training.recipes.starts import forget_transformer, fresh_model, pretraining_start

    train = faces[faces["split"] == "train"]
    options = parse_pretraining(parameters, len(train), network)
    model = parse(ModelSettings, model_parameters, "model")
    teachers = {}
    recipes = options.recipes()
    for number, (method, recipe) in enumerate(recipes.items(), start=1):
        logger.info("pretrain: %s, %d of %d", method, number, len(recipes))
        start = pretraining_start(model.name, model.sizes, seed, network, recipe)
        context = run_context(f"pretrain_{method}", checkpoints, seed, launch)
        teachers[method] = pretrain(start, train, recipe, context, landmarks, views_picture)
    like = teachers[GRID] if network is None else fresh_model(model.name, model.sizes, seed, network)
    return {SCRATCH: forget_transformer(like, seed), **teachers}


def draw_views(
    faces: pd.DataFrame, network: "LandmarkNetwork | None", parameters: dict[str, Any], seed: int
) -> "Figure":
    """The views of one training face, with the landmarks that become tokens where LAFS is a method."""
    from lafs_pipeline.models.methods import leading_pretrained
    from lafs_pipeline.reporting.views import show_views

    train = faces[faces["split"] == "train"]
    options = parse_pretraining(parameters, len(train), network)
    recipes = options.recipes()
    return show_views(train, network, recipes[leading_pretrained(recipes)], seed)
