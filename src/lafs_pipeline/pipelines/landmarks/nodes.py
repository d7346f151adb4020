"""Nodes of the landmarks pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelSettings, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import PartFViT

SHOWN_FACES = 18


def train_stage1(
    faces: pd.DataFrame,
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> "PartFViT":
    """Part fViT trained with a margin loss on the labeled faces, or read from an authors' checkpoint."""
    from lafs_pipeline.interop.official import load_part_fvit
    from lafs_pipeline.pipelines.workplace import workplace
    from lafs_pipeline.reporting.landmarks import landmarks_picture
    from lafs_pipeline.training.jobs import train_recognition
    from lafs_pipeline.training.recipes import StageOneSettings, fresh_model

    options = parse(StageOneSettings, parameters, "landmarks")
    if options.initial_weights is not None:
        return load_part_fvit(options.initial_weights)
    model = parse(ModelSettings, model_parameters, "model")
    place = workplace("stage1", checkpoints, seed, launch)
    labeled = faces[(faces["split"] == "train") & faces["identity"].notna()]
    start = fresh_model(model.name, model.sizes, seed)
    return train_recognition("stage1", start, labeled, options.recognition, place, draw=landmarks_picture)


def take_landmark_network(stage1: "PartFViT") -> "LandmarkNetwork":
    """The part of stage 1 that finds landmarks."""
    stage1.landmark_network.provenance = stage1.provenance
    return stage1.landmark_network


def extract(faces: pd.DataFrame, network: "LandmarkNetwork") -> pd.DataFrame:
    """N landmarks of every face and of its mirror image.

    Columns key, landmarks and mirror_landmarks (2N numbers each, x and y alternating, pixels).
    """
    import torch

    from lafs_pipeline.faces.dataset import FaceImages
    from lafs_pipeline.models.embedding import map_faces
    from lafs_pipeline.runtime.processes import local_device

    device = local_device()
    network.to(device)
    both = map_faces(
        lambda images: torch.stack((network(images), network(images.flip(-1))), dim=1),
        FaceImages(faces),
        device,
        title="landmarks",
    )
    own, mirrored = (list(points.reshape(len(points), -1)) for points in (both[:, 0], both[:, 1]))
    return pd.DataFrame({"key": faces["key"].to_numpy(), "landmarks": own, "mirror_landmarks": mirrored})


def draw_overlay(faces: pd.DataFrame, landmarks: pd.DataFrame) -> "Figure":
    """Training faces with their landmarks, to look at."""
    import numpy as np

    from lafs_pipeline.faces.dataset import FaceImages
    from lafs_pipeline.faces.subsets import evenly_spaced
    from lafs_pipeline.reporting.landmarks import plot_landmarks

    train = faces[faces["split"] == "train"]
    shown = train.iloc[evenly_spaced(len(train), SHOWN_FACES)]
    points = np.stack(landmarks.set_index("key").loc[shown["key"], "landmarks"]).reshape(len(shown), -1, 2)
    return plot_landmarks(
        FaceImages(shown).stack(), {f"{points.shape[1]} landmarks of the stage-1 network": points}
    )


def measure_quality(
    faces: pd.DataFrame, network: "LandmarkNetwork", parameters: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, "Figure"]:
    """Stability and spread of the landmarks on training faces, before and after stage 1."""
    from lafs_pipeline.evaluation.landmark_quality import LandmarkQualitySettings, compare_landmarks
    from lafs_pipeline.reporting.landmarks import plot_landmarks
    from lafs_pipeline.training.recipes import fresh_landmark_network

    options = parse(LandmarkQualitySettings, parameters, "landmark_quality")
    networks = {"before": fresh_landmark_network(network.sizes, seed), "after": network}
    table, images, overlays = compare_landmarks(networks, faces[faces["split"] == "train"], options, seed)
    return table, plot_landmarks(images, overlays)
