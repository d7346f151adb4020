"""Nodes of the adapt pipeline."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from lafs_pipeline.evaluation.embeddings import EmbeddingStore
    from lafs_pipeline.models.timm_model import FaceModel

    Models = dict[str, Callable[[], FaceModel]]

logger = logging.getLogger(__name__)


def choose_shots(faces: pd.DataFrame, parameters: dict[str, Any], seed: int) -> pd.DataFrame:
    """The labeled faces that adaptation may see; none where no training face has a label."""
    from lafs_pipeline.training.recipes.settings import AdaptSettings
    from lafs_pipeline.training.recipes.starts import choose_adaptation_faces

    options = parse(AdaptSettings, parameters, "adapt")
    train = faces[faces["split"] == "train"]
    if train["identity"].isna().all():
        return train.head(0)
    return choose_adaptation_faces(faces, options, seed)


def adapt_models(
    backbones: "Models",
    shots: pd.DataFrame,
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> dict[str, "FaceModel"]:
    """A face model of every backbone and timm model, its landmarks, if any, held near those of the start.

    An adaptation that is finished is read from its last checkpoint when the node runs again.
    """
    from lafs_pipeline.interop.timm_start import load_timm
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.landmarks import landmarks_picture
    from lafs_pipeline.training.jobs import train_recognition
    from lafs_pipeline.training.recipes.settings import AdaptSettings
    from lafs_pipeline.training.recipes.starts import fit_recognition

    options = parse(AdaptSettings, parameters, "adapt")
    if shots.empty:
        logger.warning("no training face has a label: no backbone is adapted")
        return {}
    recipe = fit_recognition(options.recognition, len(shots))
    timm = {name: partial(load_timm, its.name, its.image_size) for name, its in options.timm.items()}
    starts = backbones | timm
    models = {}
    for number, (name, load) in enumerate(starts.items(), start=1):
        logger.info("adapt: %s, %d of %d", name, number, len(starts))
        stage = f"adapt_{name}"
        context = run_context(stage, checkpoints, seed, launch)
        start = load()
        near = getattr(start, "landmark_network", None)
        models[name] = train_recognition(stage, start, shots, recipe, context, near, landmarks_picture)
    return models


def probe(
    backbones: "Models",
    face_models: "Models",
    faces: pd.DataFrame,
    shots: pd.DataFrame,
    store: "EmbeddingStore",
    parameters: dict[str, Any],
    evaluate_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
) -> pd.DataFrame:
    """Linear probe and k-NN on frozen models, from the shots to the identities' other training images.

    Stage 1, where it was trained, has seen the labels of those images: its row is what they can give at most.
    """
    from lafs_pipeline.evaluation.backbone_probes import choose_probe_faces, probe_backbones
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.methods import STAGE1
    from lafs_pipeline.runtime.launch_settings import LaunchSettings
    from lafs_pipeline.training.recipes.settings import AdaptSettings

    options = parse(AdaptSettings, parameters, "adapt")
    gallery, queries = choose_probe_faces(faces, shots, options.probe_identities, seed)
    frozen = backbones | {name: load for name, load in face_models.items() if name == STAGE1}
    models = {name: load() for name, load in frozen.items()}
    evaluate = parse(EvaluateSettings, evaluate_parameters, "evaluate")
    return probe_backbones(models, gallery, queries, store, evaluate, parse(LaunchSettings, launch, "launch"))
