"""Warps against an independent inverse, and against each other on both devices' paths."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from lafs_pipeline.views.parameters import WarpSettings
from lafs_pipeline.views.warps import Warp, draw_warp, move_points, warp_images

SIZE = 112


def drawn(seed: int, **options) -> Warp:
    return draw_warp(WarpSettings(**options), SIZE, np.random.default_rng(seed))


def smooth_image(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(0, 255, (3, 10, 10))
    rows, columns = np.mgrid[0 : 9 : SIZE * 1j, 0 : 9 : SIZE * 1j]
    return np.stack([map_coordinates(plane, (rows, columns), order=1) for plane in coarse], -1).astype(
        np.uint8
    )


def test_without_strength_nothing_moves():
    warp = drawn(0, rotation=0, log_scale=0, shift=0, displacement=0)
    image, points = smooth_image(0), np.array([[0.0, 0.0], [30.5, 81.25]])
    assert np.array_equal(warp.apply(image), image)
    np.testing.assert_allclose(warp.move(points, SIZE), points, atol=1e-4)


@given(seed=st.integers(0, 10_000))
def test_a_similarity_moves_points_as_written_out(seed):
    options = {"rotation": 12.0, "log_scale": 0.15, "shift": 5.0}
    warp = drawn(seed, **options, displacement=0)
    angle, log_scale, *shift = np.random.default_rng(seed).normal(size=4) * (np.deg2rad(12), 0.15, 5, 5)
    turn = np.exp(log_scale) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.random.default_rng(1).uniform(0, SIZE, (5, 2))
    np.testing.assert_allclose(warp.move(points, SIZE), (points - 56) @ turn.T + 56 + shift, atol=1e-3)


@given(seed=st.integers(0, 10_000))
def test_a_moved_point_shows_what_it_showed(seed):
    warp = drawn(seed)
    points = np.random.default_rng(2).uniform(30, 82, (20, 2))
    moved = warp.move(points, SIZE)
    inside = ((moved > 2) & (moved < SIZE - 2)).all(axis=1)
    source = [
        map_coordinates(warp.source(SIZE)[..., axis], (moved[inside] - 0.5).T[::-1], order=1)
        for axis in (0, 1)
    ]
    error = np.abs(np.stack(source, -1) - points[inside]).max(axis=1, initial=0)
    # Where a strong warp folds the image over, a point is seen twice or never.
    assert error.size == 0 or (np.median(error) < 0.05 and error.max() < 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_on_the_device_is_warped_as_by_the_loader(seed):
    images = np.stack([smooth_image(seed), smooth_image(seed + 10)])
    warps = [drawn(seed), drawn(seed + 1)]
    expected = np.stack([warp.apply(image) for warp, image in zip(warps, images, strict=True)])
    found = warp_images(
        torch.from_numpy(images).permute(0, 3, 1, 2).float(),
        torch.from_numpy(np.stack([warp.inverse for warp in warps])),
        torch.from_numpy(np.stack([warp.displacement for warp in warps])),
    )
    difference = np.abs(found.permute(0, 2, 3, 1).numpy() - expected)
    assert difference.mean() < 1
    assert np.quantile(difference, 0.99) < 4


def test_half_precision_around_it_moves_nothing():
    """Half a pixel is what bf16 tells apart at 100."""
    warps = [drawn(0), drawn(1)]
    inverses = torch.from_numpy(np.stack([warp.inverse for warp in warps]))
    displacements = torch.from_numpy(np.stack([warp.displacement for warp in warps]))
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[20.0, 30.0], [90.0, 101.0]]]).expand(2, -1, -1)

    def warped():
        return warp_images(images, inverses, displacements), move_points(
            points, inverses, displacements, SIZE
        )

    expected = warped()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = warped()
    assert all(map(torch.equal, expected, found))
