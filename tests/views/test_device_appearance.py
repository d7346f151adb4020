"""The batched color operations and the blur against torchvision and SciPy on float images."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2 import functional as F

from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.device_appearance import blur, jitter_and_gray, shift_hue, solarize

NAMES = ("brightness", "contrast", "saturation", "hue")


@pytest.fixture(scope="module")
def pictures(picture, noise_picture) -> np.ndarray:
    """(4, 112, 112, 3): edges and noise, twice."""
    return np.stack([picture, noise_picture, picture[::-1], noise_picture[:, ::-1]])


def as_rows(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) as float (N, H, 3, W)."""
    return torch.from_numpy(images).float().transpose(2, 3).contiguous()


def unit(rows: torch.Tensor) -> torch.Tensor:
    """(N, H, 3, W) gray levels as torchvision has float images: (N, 3, H, W) in 0..1."""
    return rows.transpose(1, 2) / 255.0


def errors(rows: torch.Tensor, reference: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """Differences in gray levels of (N, H, 3, W) in 0..255 from (N, 3, H, W) in 0..1."""
    return (rows.transpose(1, 2) - 255.0 * torch.stack(list(reference))).abs()


@pytest.mark.parametrize("operation", range(4))
def test_every_jitter_operation_is_torchvisions(pictures, operation):
    generator = random_generator("device operation", operation)
    low, high = [(0.0, 2.0), (0.0, 2.0), (0.0, 2.0), (-0.5, 0.5)][operation]
    factors = np.tile([1.0, 1.0, 1.0, 0.0], (16, 1))
    factors[:, operation] = generator.uniform(low, high, 16)
    images = as_rows(np.tile(pictures, (4, 1, 1, 1)))
    adjust = getattr(F, f"adjust_{NAMES[operation]}")
    reference = [adjust(*pair) for pair in zip(unit(images), factors[:, operation].tolist(), strict=True)]
    jittered = jitter_and_gray(
        images.clone(),
        torch.ones(16, dtype=torch.bool),
        torch.from_numpy(factors).float(),
        torch.from_numpy(generator.permuted(np.tile(np.arange(4), (16, 1)), axis=1)),
        torch.zeros(16, dtype=torch.bool),
    )
    assert errors(jittered, reference).max() < 0.05, "torchvision's weight of red is 0.2989 instead of 0.299"


def test_hue_of_pure_and_of_gray_colors():
    colors = np.array(list(itertools.product((0, 128, 255), repeat=3)), dtype=np.uint8)
    shifts = torch.linspace(-0.5, 0.5, 13)
    images = as_rows(np.broadcast_to(colors, (13, 1, 27, 3)).copy())
    reference = [F.adjust_hue(image, float(shift)) for image, shift in zip(unit(images), shifts, strict=True)]
    assert errors(shift_hue(images.clone(), shifts), reference).max() < 0.01


def test_all_orders_in_one_batch(picture):
    orders = np.array(list(itertools.permutations(range(4))))
    factors = random_generator("device orders").uniform((0.6, 0.6, 0.8, -0.1), (1.4, 1.4, 1.2, 0.1), (24, 4))
    images = as_rows(np.broadcast_to(picture, (24, *picture.shape)).copy())
    reference = list(unit(images))
    for index, order in enumerate(orders):
        for operation in order:
            adjust = getattr(F, f"adjust_{NAMES[operation]}")
            reference[index] = adjust(reference[index], factors[index, operation])
    everyone, nobody = torch.ones(24, dtype=torch.bool), torch.zeros(24, dtype=torch.bool)
    jittered = jitter_and_gray(
        images, everyone, torch.from_numpy(factors).float(), torch.from_numpy(orders), nobody
    )
    assert errors(jittered, reference).max() < 0.2


def test_only_the_chosen_turn_gray(pictures):
    images, chosen = as_rows(pictures), torch.tensor([True, False, True, False])
    kept = images.clone()
    orders = torch.arange(4).expand(4, 4)
    result = jitter_and_gray(
        images, torch.zeros(4, dtype=torch.bool), torch.full((4, 4), 0.3), orders, chosen
    )
    reference = F.rgb_to_grayscale(unit(kept), num_output_channels=3)
    assert errors(result[chosen], reference[chosen]).max() < 0.05
    torch.testing.assert_close(result[~chosen], kept[~chosen], rtol=0, atol=1e-3)


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.1, 4.0), min_size=3, max_size=3))
def test_blur_is_scipys_gaussian_with_a_repeated_border(pictures, sigmas):
    blurred = blur(as_rows(pictures), torch.tensor([*sigmas, 0.0]))
    for index, sigma in enumerate(sigmas):
        exact = gaussian_filter(pictures[index].astype(float), (sigma, sigma, 0), mode="nearest", truncate=20)
        np.testing.assert_allclose(blurred[index].transpose(1, 2).numpy(), exact, atol=1e-2)
    torch.testing.assert_close(blurred[3], as_rows(pictures)[3], rtol=0, atol=1e-3)


def test_solarize_is_torchvisions_where_chosen(pictures):
    chosen = torch.tensor([True, False, True, False])
    images = as_rows(pictures)
    result = solarize(images.clone(), chosen)
    assert errors(result[chosen], F.solarize(unit(images), 128 / 255)[chosen]).max() < 1e-3
    assert torch.equal(result[~chosen], images[~chosen])
