import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.parameters import (
    AugmentationSettings,
    ViewSettings,
    draw_crop_boxes,
    draw_view_parameters,
)

IMAGES = 1500
SIGNIFICANCE = 1e-3


@pytest.fixture(scope="module")
def draws() -> list:
    generator = random_generator("test views", 7)
    return [draw_view_parameters(ViewSettings(), 112, 112, generator) for _ in range(IMAGES)]


def stacked(draws, field: str) -> np.ndarray:
    """(images, views, ...)."""
    return np.stack([getattr(draw, field) for draw in draws])


def assert_probability(hits: np.ndarray, probability: float) -> None:
    assert stats.binomtest(int(hits.sum()), hits.size, probability).pvalue > SIGNIFICANCE


def test_crop_boxes_are_distributed_as_torchvision_draws_them():
    generator = random_generator("test crop", 0)
    ours = draw_crop_boxes([(0.4, 1.0)] * 4000, 90, 120, generator)
    torch.manual_seed(0)
    image = torch.empty(3, 90, 120)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.4, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])[
        :, [1, 0, 3, 2]
    ]
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > SIGNIFICANCE
    for boxes in (ours, theirs):
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= (120, 90)).all()
    area, their_area = (boxes[:, 2] * boxes[:, 3] / (90 * 120) for boxes in (ours, theirs))
    assert stats.ks_2samp(area, their_area).pvalue > SIGNIFICANCE
    ratio, their_ratio = (boxes[:, 2] / boxes[:, 3] for boxes in (ours, theirs))
    assert stats.ks_2samp(ratio, their_ratio).pvalue > SIGNIFICANCE


def test_small_crops_have_uniform_area_and_log_uniform_ratio():
    boxes = draw_crop_boxes([(0.05, 0.4)] * 4000, 1000, 1000, random_generator("test crop", 1))
    area = boxes[:, 2] * boxes[:, 3] / 1e6
    log_ratio = np.log(boxes[:, 2] / boxes[:, 3])
    assert stats.kstest(area, stats.uniform(0.05, 0.35).cdf).pvalue > SIGNIFICANCE
    width = np.log(4 / 3)
    assert stats.kstest(log_ratio, stats.uniform(-width, 2 * width).cdf).pvalue > SIGNIFICANCE


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(20, 300, (136, 0, 27, 20)), (300, 20, (0, 136, 20, 27))],
)
def test_an_image_too_narrow_for_any_try_gives_the_center_crop(height, width, expected):
    boxes = draw_crop_boxes([(1.0, 1.0)] * 3, height, width, random_generator("test crop", 2))
    np.testing.assert_array_equal(boxes, [expected] * 3)


def test_probabilities_by_kind_of_view(draws):
    assert_probability(stacked(draws, "flips"), 0.5)
    assert_probability(stacked(draws, "jitters"), 0.8)
    assert_probability(stacked(draws, "grays"), 0.2)
    blurred = stacked(draws, "blur_sigmas") > 0
    assert blurred[:, 0].all()
    assert_probability(blurred[:, 1], 0.1)
    assert_probability(blurred[:, 2:], 0.5)
    solarized = stacked(draws, "solarizes")
    assert_probability(solarized[:, 1], 0.2)
    assert not solarized[:, [0, *range(2, 10)]].any()


def test_jitter_factors_and_radii_are_uniform_and_orders_equally_likely(draws):
    factors = stacked(draws, "jitter_factors").reshape(-1, 4)
    for column, (low, width) in enumerate([(0.6, 0.8), (0.6, 0.8), (0.8, 0.4), (-0.1, 0.2)]):
        assert stats.kstest(factors[:, column], stats.uniform(low, width).cdf).pvalue > SIGNIFICANCE
    sigmas = stacked(draws, "blur_sigmas")
    assert stats.kstest(sigmas[sigmas > 0], stats.uniform(0.1, 1.9).cdf).pvalue > SIGNIFICANCE
    orders, counts = np.unique(stacked(draws, "jitter_orders").reshape(-1, 4), axis=0, return_counts=True)
    assert len(orders) == 24
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_views_are_drawn_independently(draws):
    flips = stacked(draws, "flips").astype(float)
    correlation = np.corrcoef(flips.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(IMAGES)


def test_equal_generators_give_equal_draws_and_probabilities_move_no_other_draw():
    plain = draw_view_parameters(ViewSettings(), 112, 112, random_generator("a"))
    again = draw_view_parameters(ViewSettings(), 112, 112, random_generator("a"))
    sober = ViewSettings(jitter_probability=0.0, gray_probability=0.0, blur_probability=(0.0, 0.0, 0.0))
    other = draw_view_parameters(sober, 112, 112, random_generator("a"))
    for field in dataclasses.fields(plain):
        np.testing.assert_array_equal(getattr(plain, field.name), getattr(again, field.name))
    for name in ("boxes", "flips", "jitter_factors", "jitter_orders", "solarizes"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(other, name))
    assert not other.jitters.any()
    assert not other.blur_sigmas.any()


def test_local_views_have_their_own_scale():
    settings = ViewSettings(local_scale=(0.05, 0.4), local_size=48)
    generator = random_generator("test local", 0)
    boxes = np.stack([draw_view_parameters(settings, 112, 112, generator).boxes for _ in range(300)])
    share = boxes[..., 2] * boxes[..., 3] / 112**2
    assert share[:, :2].min() > 0.38
    assert share[:, 2:].max() < 0.42
    assert share[:, 2:].min() < 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"global_scale": (0.0, 1.0)},
        {"local_scale": (0.9, 0.4)},
        {"jitter": (0.4, 0.4, 0.2, 0.6)},
        {"blur_probability": (1.0, 0.1, 1.5)},
        {"blur_radius": (0.0, 2.0)},
    ],
)
def test_a_value_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(LafsError, match=name):
        ViewSettings(**wrong)


def test_the_fine_tuning_augmentation_is_checked_too():
    with pytest.raises(LafsError, match="erase_scale"):
        AugmentationSettings(erase_scale=(0.2, 0.1))
