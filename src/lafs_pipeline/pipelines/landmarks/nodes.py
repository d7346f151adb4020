"""Nodes of the landmarks pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelSettings, parse, parse_landmarks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.embeddings import EmbeddingStore
    from lafs_pipeline.models.embedding import Embeddings
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import PartFViT

SHOWN_FACES = 18


def train_landmarks(
    faces: pd.DataFrame,
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> tuple[dict[str, "PartFViT"], "LandmarkNetwork"]:
    """The network that finds landmarks, and the face model of stage 1 where there is one.

    It learns from warps of unlabeled faces, as a part of a face model that learns identities (the paper's
    stage 1), or comes from an authors' checkpoint.
    """
    from lafs_pipeline.interop.official import load_part_fvit
    from lafs_pipeline.models.methods import STAGE1
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.landmarks import landmarks_picture
    from lafs_pipeline.training.jobs import train_recognition
    from lafs_pipeline.training.landmark_warps import train_landmarks
    from lafs_pipeline.training.recipes.starts import fresh_model

    model = parse(ModelSettings, model_parameters, "model")
    train = faces[faces["split"] == "train"]
    options = parse_landmarks(parameters, len(train))
    if options.method == "weights":
        stage1 = load_part_fvit(options.weights)
        return {STAGE1: stage1}, stage1.landmark_network
    if options.method == "warps":
        start = fresh_model(model.name, model.sizes | {"landmark_coordinates": "free"}, seed)
        context = run_context("landmarks", checkpoints, seed, launch)
        return {}, train_landmarks(start.landmark_network, train, options.warps, context)
    start, context = (
        fresh_model(model.name, model.sizes, seed),
        run_context(STAGE1, checkpoints, seed, launch),
    )
    labeled = train[train["identity"].notna()]
    stage1 = train_recognition(STAGE1, start, labeled, options.recognition, context, draw=landmarks_picture)
    stage1.landmark_network.provenance = stage1.provenance
    return {STAGE1: stage1}, stage1.landmark_network


def extract(
    faces: pd.DataFrame,
    network: "LandmarkNetwork",
    store: "EmbeddingStore",
    parameters: dict[str, Any],
    launch: dict[str, Any],
) -> "Embeddings":
    """N landmarks of every training face and of its mirror image, found once and kept by memory map.

    A row has 4N numbers: x and y of the face's landmarks in pixels, then those of the mirror image's.
    """
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.models.landmark_network import MirroredLandmarks
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    train = faces[faces["split"] == "train"]
    wanted = parse_landmarks(parameters, len(train)).extract
    chosen = {"train": train, "all": faces, "none": faces.head(0)}[wanted]
    found = store.embed(
        MirroredLandmarks(network),
        model_digest(network),
        {"landmarks": chosen},
        EvaluateSettings(flip=False),
        parse(LaunchSettings, launch, "launch"),
    )
    return found["landmarks"]


def draw_overlay(faces: pd.DataFrame, network: "LandmarkNetwork") -> "Figure":
    """Training faces with their landmarks, to look at."""
    import torch

    from lafs_pipeline.faces.dataset import FaceImages
    from lafs_pipeline.faces.subsets import evenly_spaced
    from lafs_pipeline.models.embedding import map_faces
    from lafs_pipeline.reporting.landmarks import plot_landmarks

    train = faces[faces["split"] == "train"]
    shown = FaceImages(train.iloc[evenly_spaced(len(train), SHOWN_FACES)])
    points = map_faces(network, shown, torch.device("cpu"))
    return plot_landmarks(shown.stack(), {f"{points.shape[1]} landmarks": points})


def measure_quality(
    faces: pd.DataFrame, network: "LandmarkNetwork", parameters: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, "Figure"]:
    """Stability and spread of the landmarks on training faces, before and after training."""
    from lafs_pipeline.evaluation.landmarks.quality import compare_landmarks
    from lafs_pipeline.evaluation.settings import LandmarkQualitySettings
    from lafs_pipeline.reporting.landmarks import plot_landmarks
    from lafs_pipeline.training.recipes.starts import fresh_landmark_network

    options = parse(LandmarkQualitySettings, parameters, "landmark_quality")
    networks = {"before": fresh_landmark_network(network.sizes, seed), "after": network}
    table, images, overlays = compare_landmarks(networks, faces[faces["split"] == "train"], options, seed)
    return table, plot_landmarks(images, overlays)
