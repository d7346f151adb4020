import numpy as np
import pytest
import torch
from scipy import stats

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.landmarks import (
    draw_subsets,
    perturb_landmarks,
    restore_landmarks,
    take_landmarks,
    transform_landmarks,
)
from lafs_pipeline.views.parameters import ViewSettings
from lafs_pipeline.views.render import LafsViews


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numbered(batch: int, count: int) -> torch.Tensor:
    """Landmark n of sample b is (b, n)."""
    rows, columns = torch.meshgrid(torch.arange(batch), torch.arange(count), indexing="ij")
    return torch.stack([rows, columns], dim=-1).float()


def test_noise_is_normal_independent_and_unclamped(generator):
    landmarks = torch.zeros(60, 196, 2)
    noise = perturb_landmarks(landmarks, 5.0, generator)
    assert stats.kstest(noise.flatten().numpy(), stats.norm(0, 5).cdf).pvalue > 1e-3
    x, y = noise.reshape(-1, 2).numpy().T
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.05
    assert noise.min() < 0
    assert not landmarks.any()


def test_noise_of_zero_changes_nothing(generator):
    landmarks = torch.rand(2, 3, 5, 2)
    torch.testing.assert_close(perturb_landmarks(landmarks, 0.0, generator), landmarks)


def test_subset_with_replacement_is_uniform_and_per_sample(generator):
    indices = draw_subsets(400, 196, 36, generator)
    assert indices.shape == (400, 36)
    counts = torch.bincount(indices.flatten(), minlength=196).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3
    distinct = np.mean([len(row.unique()) for row in indices])
    assert distinct == pytest.approx(196 * (1 - (1 - 1 / 196) ** 36), abs=0.5)
    assert not torch.equal(indices[0], indices[1])


def test_subset_without_replacement_never_repeats_and_is_uniform(generator):
    indices = draw_subsets(400, 49, 36, generator, with_replacement=False)
    assert all(len(row.unique()) == 36 for row in indices)
    first = torch.bincount(indices[:, 0], minlength=49).numpy()
    assert stats.chisquare(first).pvalue > 1e-3


def test_all_of_them_without_replacement_is_a_permutation_of_every_sample(generator):
    indices = draw_subsets(6, 20, 20, generator, with_replacement=False)
    assert torch.equal(indices.sort(dim=1).values, torch.arange(20).expand(6, 20))
    assert not torch.equal(indices[0], indices[1])


def test_chosen_landmarks_are_those_of_their_own_sample(generator):
    chosen = draw_subsets(5, 30, 9, generator)
    taken = take_landmarks(numbered(5, 30), chosen)
    assert torch.equal(taken[..., 0], torch.arange(5.0)[:, None].expand(5, 9))
    assert torch.equal(taken[..., 1].long(), chosen)


def test_equal_seeds_give_equal_draws():
    first, second = (
        (perturb_landmarks(numbered(4, 30), 5.0, seeded), draw_subsets(4, 30, 9, seeded))
        for seeded in (torch.Generator().manual_seed(3), torch.Generator().manual_seed(3))
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_too_many_without_replacement_are_refused(generator):
    with pytest.raises(LafsError, match=r"50 landmarks .* from 49"):
        draw_subsets(1, 49, 50, generator, with_replacement=False)


@pytest.mark.parametrize(("size", "local_size"), [(112, 112), (112, 48), (224, 64)])
def test_landmarks_land_where_rendering_puts_their_pixels(size, local_size):
    """A bright dot is rendered; its center of brightness is the moved landmark."""
    dot = np.array([52.5, 63.5])
    rows, columns = np.mgrid[:112, :112]
    blob = 255 * np.exp(-((columns + 0.5 - dot[0]) ** 2 + (rows + 0.5 - dot[1]) ** 2) / (2 * 3.0**2))
    image = np.repeat(blob.round().astype(np.uint8)[..., None], 3, axis=2)
    settings = ViewSettings(size=size, local_size=local_size)
    checked = 0
    for seed in range(10):
        views = LafsViews(settings)(image, random_generator("dot", seed))
        boxes, flips = torch.from_numpy(views.parameters.boxes), torch.from_numpy(views.parameters.flips)
        landmarks = torch.from_numpy(dot)[None]
        for rendered, chosen, side in (
            (views.global_clean, slice(0, 2), size),
            (views.local_clean, slice(2, None), local_size),
        ):
            expected = transform_landmarks(landmarks, boxes[chosen], flips[chosen], side)[:, 0].numpy()
            for view, (x, y) in zip(rendered, expected, strict=True):
                margin = 12 * side / 60
                if margin < min(x, y) and max(x, y) < side - margin:
                    weight = view[..., 0].astype(float)
                    ys, xs = np.mgrid[:side, :side]
                    assert (xs * weight).sum() / weight.sum() + 0.5 == pytest.approx(x, abs=0.06)
                    assert (ys * weight).sum() / weight.sum() + 0.5 == pytest.approx(y, abs=0.06)
                    checked += 1
    assert checked > 40


def test_a_landmark_set_for_every_view():
    boxes, flips = torch.tensor([[0, 0, 112, 112], [10, 20, 56, 28]]), torch.tensor([True, False])
    landmarks = torch.tensor([[[0.0, 0.0]], [[10.0, 20.0]]])
    moved = transform_landmarks(landmarks, boxes, flips, 112)
    torch.testing.assert_close(moved, torch.tensor([[[112.0, 0.0]], [[0.0, 0.0]]]))


def test_moving_into_views_and_back_changes_nothing():
    boxes = torch.tensor([[0, 0, 112, 112], [10, 20, 56, 28], [3, 0, 90, 101]])
    flips = torch.tensor([True, False, True])
    landmarks = torch.rand(3, 20, 2) * 112
    moved = transform_landmarks(landmarks, boxes, flips, 48)
    torch.testing.assert_close(restore_landmarks(moved, boxes, flips, 48), landmarks, atol=1e-4, rtol=0)
