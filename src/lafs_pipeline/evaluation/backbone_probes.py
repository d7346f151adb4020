"""The cheapest adaptations: a linear probe and k-NN on the embeddings of models that stay as they are."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import nn

from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.faces.subsets import identity_labels
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.monitoring.probes import knn_accuracy, linear_accuracy

logger = logging.getLogger(__name__)

PROBES = {"linear": linear_accuracy, "knn": knn_accuracy}
COLUMNS = ["model", "probe", "accuracy", "images", "identities", "shots"]


def choose_probe_faces(
    faces: pd.DataFrame, shots: pd.DataFrame, identities: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What probes learn from and what they are tested on.

    Returns:
        The shots of the drawn identities, and their other training images; both empty where fewer than two
        identities have others.
    """
    own = (faces["split"] == TRAIN) & faces["identity"].isin(shots["identity"].unique())
    others = faces[own & ~faces["key"].isin(shots["key"])]
    names = sorted(others["identity"].unique(), key=lambda name: derive_seed(seed, "probe identity", name))
    chosen = names[:identities] if len(names) > 1 else []
    return shots[shots["identity"].isin(chosen)], others[others["identity"].isin(chosen)]


def probe_backbones(
    models: Mapping[str, nn.Module],
    gallery: pd.DataFrame,
    queries: pd.DataFrame,
    store: EmbeddingStore,
    options: EvaluateSettings,
    launching: LaunchSettings,
) -> pd.DataFrame:
    """How well frozen embeddings name the identity of a face that few others of it are known of.

    Images are embedded as they are, without their mirror images, and embeddings kept for the next time.

    Returns:
        A row per model and probe: model, probe (`linear`, `knn`), accuracy (0..1), images tested, identities,
        shots (images learned from).
    """
    if queries.empty:
        logger.warning("no probes: no labeled identity has images beside those of the adaptation")
        return pd.DataFrame(columns=COLUMNS)
    both = pd.concat((gallery, queries))
    labels, names = identity_labels(both)
    in_gallery = np.arange(len(both)) < len(gallery)
    rows = []
    for model_name, model in models.items():
        found = store.embed(
            model, model_digest(model), {"probes": both}, replace(options, flip=False), launching
        )
        vectors = found["probes"].vectors[found["probes"].rows[both["key"]]].astype(np.float32)
        for probe, accuracy in PROBES.items():
            value = accuracy(vectors, labels, in_gallery)
            rows.append([model_name, probe, value, len(queries), len(names), len(gallery)])
    return pd.DataFrame(rows, columns=COLUMNS)
