"""KoLeo against scikit-learn's nearest neighbors, and what it is there for: embeddings that move apart."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from lafs_pipeline.objectives.koleo import koleo_loss
from lafs_pipeline.runtime.errors import LafsError


def drawn(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def distances(embeddings: torch.Tensor) -> np.ndarray:
    """Of each embedding to its nearest neighbor on the unit sphere, as scikit-learn finds it."""
    points = F.normalize(embeddings, dim=-1).detach().double().numpy()
    return NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)[0][:, 1]


@given(st.integers(2, 40), st.integers(2, 32), st.integers(0, 2**16))
def test_it_is_the_mean_logarithm_of_the_distance_to_the_nearest_neighbor(count, dim, seed):
    embeddings = drawn(count, dim, seed)
    expected = -np.log(distances(embeddings)).mean()
    assert koleo_loss(embeddings).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_length_of_an_embedding_plays_no_part():
    embeddings = drawn(8, 16, 0)
    lengths = torch.linspace(0.1, 10, 8)[:, None]
    torch.testing.assert_close(koleo_loss(embeddings * lengths), koleo_loss(embeddings))


def test_descent_spreads_embeddings_that_were_nearly_one():
    embeddings = torch.nn.Parameter(1 + 0.01 * drawn(16, 8, 1))
    before = distances(embeddings).min()
    optimizer = torch.optim.Adam([embeddings], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        koleo_loss(embeddings).backward()
        optimizer.step()
    assert before < 0.02
    assert distances(embeddings).min() > 0.5


def test_an_image_that_is_twice_in_a_batch_gives_finite_gradients():
    embeddings = drawn(4, 8, 2)
    embeddings[1] = embeddings[0]
    embeddings.requires_grad_()
    koleo_loss(embeddings).backward()
    assert torch.isfinite(embeddings.grad).all()
    assert embeddings.grad[2:].abs().sum() > 0


def test_half_precision_is_computed_in_float32():
    embeddings = (1 + 0.01 * drawn(16, 8, 3)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = koleo_loss(embeddings)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(koleo_loss(embeddings.float()).item())


def test_one_image_has_no_neighbor():
    with pytest.raises(LafsError, match=r"koleo_weight.*1 image.*training\.batch_size"):
        koleo_loss(drawn(1, 8, 0))
