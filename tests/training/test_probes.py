import numpy as np
import pytest

from lafs_pipeline.training.probes import embedding_std, knn_accuracy


def test_knn_tells_separate_clusters_and_not_noise():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    gallery = np.tile(np.arange(20) < 10, 10)
    centres = generator.standard_normal((10, 32))
    clusters = centres[labels] + 0.05 * generator.standard_normal((200, 32))
    assert knn_accuracy(clusters.astype(np.float32), labels, gallery) == 1.0
    noise = generator.standard_normal((200, 32)).astype(np.float32)
    assert knn_accuracy(noise, labels, gallery) < 0.3


def test_embedding_std_is_one_for_even_directions_and_zero_when_collapsed():
    generator = np.random.default_rng(0)
    even = generator.standard_normal((5000, 64)).astype(np.float32)
    assert embedding_std(even) == pytest.approx(1.0, abs=0.02)
    assert embedding_std(np.ones((50, 64), np.float32)) == pytest.approx(0.0, abs=1e-6)
