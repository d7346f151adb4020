"""The nearest faces are those of a loop over all."""

import numpy as np
import pytest

from lafs_pipeline.evaluation.search import FaceIndex
from lafs_pipeline.runtime.errors import LafsError


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("precision", ["float16", "float32", "float64"])
def test_answers_are_those_of_every_comparison(precision):
    rng = np.random.default_rng(0)
    gallery = (3 * rng.normal(size=(3000, 48))).astype(precision)
    probes = np.concatenate([rng.normal(size=(40, 48)), gallery[:3]])
    rows, similarities = FaceIndex(gallery).search(probes, 7)
    expected = unit(probes.astype(np.float64)) @ unit(gallery.astype(np.float64)).T
    order = np.argsort(-expected, axis=1)[:, :7]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(similarities, np.take_along_axis(expected, order, 1), atol=1e-5)
    assert rows[-3:, 0].tolist() == [0, 1, 2]


def test_what_is_of_length_1_is_not_copied():
    vectors = unit(np.random.default_rng(0).normal(size=(50, 8))).astype(np.float32)
    assert FaceIndex(vectors).vectors is vectors
    rows, _ = FaceIndex(vectors).search(vectors[:2], 99)
    assert rows.shape == (2, 50)


def test_the_threshold_accepts_that_share_of_strangers():
    rng = np.random.default_rng(1)
    vectors, people = rng.normal(size=(200, 16)), np.repeat(np.arange(50), 4).astype(str)
    threshold = FaceIndex(vectors).threshold(people, 0.01)
    scores = unit(vectors) @ unit(vectors).T
    strangers = np.triu(people[:, None] != people[None], 1)
    share = (scores[strangers] > threshold).mean()
    assert share == pytest.approx(0.01, abs=1.5 / strangers.sum())


def test_what_cannot_be_searched():
    index = FaceIndex(np.eye(4))
    with pytest.raises(LafsError, match=r"3 pairs of different people .*\(3 people\).* give at least 0\.33"):
        FaceIndex(np.eye(3)).threshold(list("abc"), 0.01)
    with pytest.raises(LafsError, match="probes have 3 numbers each, the gallery 4: embed both"):
        index.search(np.eye(3), 1)
    with pytest.raises(LafsError, match="1 of 2 embeddings are zero or not finite, first row 1"):
        index.search(np.array([[1.0, 0, 0, 0], [np.nan, 0, 0, 0]]), 1)
    with pytest.raises(LafsError, match=r"shape \(0, 4\)"):
        FaceIndex(np.zeros((0, 4)))
