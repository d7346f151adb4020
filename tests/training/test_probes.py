import numpy as np
import pytest

from lafs_pipeline.training.monitoring.probes import (
    embedding_std,
    knn_accuracy,
    linear_accuracy,
    most_frequent,
)


@pytest.mark.parametrize("accuracy", [knn_accuracy, linear_accuracy])
def test_separate_clusters_are_told_apart_and_noise_is_not(accuracy):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    gallery = np.tile(np.arange(20) < 10, 10)
    centers = generator.standard_normal((10, 32))
    clusters = centers[labels] + 0.05 * generator.standard_normal((200, 32))
    assert accuracy(clusters.astype(np.float32), labels, gallery) == 1.0
    noise = generator.standard_normal((200, 32)).astype(np.float32)
    assert accuracy(noise, labels, gallery) < 0.3


def test_a_linear_probe_finds_a_component_that_neighbors_drown_in_noise():
    generator = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    embeddings = generator.standard_normal((400, 200)).astype(np.float32)
    embeddings[:, 7] += 6 * labels
    gallery = np.arange(400) < 200
    linear = linear_accuracy(embeddings, labels, gallery)
    assert linear > 0.85
    assert linear > knn_accuracy(embeddings, labels, gallery)
    # Lengths of embeddings carry no identity, nor do offsets and scales of their components.
    assert linear_accuracy(embeddings * generator.uniform(1, 9, (400, 1)), labels, gallery) == linear


def test_chance_is_what_collapsed_embeddings_can_get():
    labels = np.array([3, 3, 3, 3, 5, 5, 8, 8])
    gallery = np.tile([True, False], 4)
    same = np.ones((8, 4), np.float32)
    assert most_frequent(labels[~gallery]) == knn_accuracy(same, labels, gallery) == 0.5


def test_embedding_std_is_one_for_even_directions_and_zero_when_collapsed():
    generator = np.random.default_rng(0)
    even = generator.standard_normal((5000, 64)).astype(np.float32)
    assert embedding_std(even) == pytest.approx(1.0, abs=0.02)
    assert embedding_std(np.ones((50, 64), np.float32)) == pytest.approx(0.0, abs=1e-6)
