"""Two images: how alike, and whether that is enough to be one person."""

from pathlib import Path

import numpy as np
import torch

from lafs_pipeline.cataloging.intake import FaceIntake
from lafs_pipeline.commands.embed import loose_settings
from lafs_pipeline.commands.models import open_model
from lafs_pipeline.evaluation.loose_faces import read_face
from lafs_pipeline.interop.model_card import Threshold, best_threshold
from lafs_pipeline.models.embedding import unit_embeddings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.source import EncodedFace, read_image_file


def compare_images(first: Path, second: Path, model_path: Path, detector: Path | None) -> int:
    """Print the cosine similarity of two faces, and what the model makes of it.

    Returns:
        The exit status.

    Raises:
        LafsError: an image, the model or the detector cannot be used.
    """
    intake = FaceIntake(loose_settings(detector))
    faces = torch.from_numpy(np.stack([_read(path, intake) for path in (first, second)]))
    model = open_model(model_path)
    a, b = unit_embeddings(model.embed, faces.to(model.device))
    similarity = float(a @ b)
    print(f"cosine similarity {similarity:.4f}")
    print(_verdict(similarity, best_threshold(model.card) if model.card else None))
    return 0


def _read(path: Path, intake: FaceIntake) -> np.ndarray:
    try:
        return read_face(intake, EncodedFace(read_image_file(path)))
    except LafsError as error:
        hint = "; a photograph needs --detector" if intake.aligned else ""
        raise LafsError(f"{path} cannot be used: {error}{hint}") from error


def _verdict(similarity: float, threshold: Threshold | None) -> str:
    if threshold is None:
        return (
            "No threshold is known for this model: no card with its scores lies beside it "
            "(kedro run --pipelines=export writes one)."
        )
    people = "the same person" if similarity >= threshold.cosine else "different people"
    return (
        f"The model takes them for {people}: its threshold is {threshold.cosine:.4f} "
        f"({threshold.accuracy:.1%} of the {threshold.pairs} pairs of {threshold.benchmark} judged rightly)."
    )
