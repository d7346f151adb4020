"""Cheap looks at an embedding while it is trained."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from torch import Tensor

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import evenly_spaced, identity_labels
from lafs_pipeline.models.embedding import map_faces
from lafs_pipeline.runtime.seeding import random_generator

NEIGHBORS = 20


class IdentityProbe:
    """How well a frozen embedding tells identities apart: weighted k-NN on held-back images, and collapse.

    Of every identity the first half of the images is the gallery and the rest are queries.
    """

    def __init__(self, faces: FaceImages, labels: np.ndarray) -> None:
        self.faces, self.labels = faces, labels
        rank = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            rank[members] = np.arange(len(members)) * 2 // len(members)
        self.in_gallery = rank == 0

    def shown(self, count: int) -> np.ndarray:
        """At most `count` of the images, evenly spread, (n, H, W, 3) uint8 RGB."""
        return self.faces.stack(evenly_spaced(len(self.faces), count))

    def measure(self, embed: Callable[[Tensor], Tensor], device: torch.device) -> dict[str, float]:
        """`knn_accuracy`, `knn_chance` (0..1), `embedding_std` (1 when spread evenly, 0 when collapsed)."""
        embeddings = map_faces(embed, self.faces, device)
        return {
            "knn_accuracy": knn_accuracy(embeddings, self.labels, self.in_gallery),
            "knn_chance": most_frequent(self.labels[~self.in_gallery]),
            "embedding_std": embedding_std(embeddings),
        }


def knn_accuracy(embeddings: np.ndarray, labels: np.ndarray, in_gallery: np.ndarray) -> float:
    """Accuracy of distance-weighted k-NN on cosine distance, k = 20 or the gallery's size.

    Args:
        embeddings: (n, dim).
        labels: (n,).
        in_gallery: (n,) bool; the rest are queries.
    """
    classifier = KNeighborsClassifier(
        n_neighbors=min(NEIGHBORS, int(in_gallery.sum())), weights="distance", metric="cosine"
    )
    return _accuracy(classifier, embeddings, labels, in_gallery)


def most_frequent(labels: np.ndarray) -> float:
    """What the same answer to every query gets at most: the share of the most frequent of the labels (n,)."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def linear_accuracy(embeddings: np.ndarray, labels: np.ndarray, in_gallery: np.ndarray) -> float:
    """Accuracy of logistic regression on the directions of the embeddings, their components standardized.

    Args:
        embeddings: (n, dim).
        labels: (n,), of at least two kinds.
        in_gallery: (n,) bool; the rest are queries.
    """
    classifier = make_pipeline(Normalizer(), StandardScaler(), LogisticRegression(max_iter=1000))
    return _accuracy(classifier, embeddings, labels, in_gallery)


def _accuracy(
    classifier: ClassifierMixin, embeddings: np.ndarray, labels: np.ndarray, in_gallery: np.ndarray
) -> float:
    with warnings.catch_warnings():
        # scikit-learn takes one shot a class for a regression problem.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        classifier.fit(embeddings[in_gallery], labels[in_gallery])
    return float(classifier.score(embeddings[~in_gallery], labels[~in_gallery]))


def embedding_std(embeddings: np.ndarray) -> float:
    """Mean standard deviation of the L2-normalized embeddings' components, times sqrt(dim).

    Near 1 when directions are spread evenly, 0 when all embeddings are the same (SimSiam, arXiv
    2011.10566, section 4.1).
    """
    directions = F.normalize(torch.from_numpy(embeddings), dim=1)
    return float(directions.std(dim=0).mean() * directions.shape[1] ** 0.5)


def identity_probe(manifest: pd.DataFrame, images: int, seed: int) -> IdentityProbe | None:
    """A probe on whole identities, drawn until there are `images` images."""
    identities = manifest["identity"]
    counts = identities.value_counts(sort=False)
    usable = np.sort(counts[counts > 1].index.to_numpy())
    if images == 0 or len(usable) < 2:
        return None
    order = random_generator(seed, "probe").permutation(usable)
    chosen = order[: max(2, int(np.searchsorted(counts[order].cumsum(), images, side="right")))]
    faces = manifest[identities.isin(chosen)]
    return IdentityProbe(FaceImages(faces), identity_labels(faces)[0])
