"""Every operation against torchvision or Pillow, in gray levels: the tolerances are part of the contract."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views import render
from lafs_pipeline.views.parameters import ViewSettings
from lafs_pipeline.views.render import LafsViews, render_views, resized_crop

BOXES = [(0, 0, 112, 112), (10, 12, 85, 80), (30, 5, 71, 90), (40, 41, 60, 64)]


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def difference(image: np.ndarray, reference: torch.Tensor | Image.Image) -> np.ndarray:
    if isinstance(reference, torch.Tensor):
        reference = reference.permute(1, 2, 0).numpy()
    return np.abs(image.astype(int) - np.asarray(reference).astype(int))


def torchvision_crop(image: np.ndarray, box, size: int) -> torch.Tensor:
    x, y, width, height = box
    return F.resized_crop(
        as_tensor(image), y, x, height, width, [size, size], InterpolationMode.BICUBIC, antialias=True
    )


@pytest.mark.parametrize("box", BOXES)
def test_enlarged_crop_is_near_torchvision(picture, box):
    error = difference(resized_crop(picture, box, 112, False), torchvision_crop(picture, box, 112))
    assert error.mean() < 0.6
    assert error.max() <= 16


def test_enlarged_face_is_near_torchvision(shared_dir):
    faces = sorted((shared_dir / "faces/celeba_299/aligned112").rglob("*.jpg"))[:200:10]
    errors = []
    for face in faces:
        image = cv2.cvtColor(cv2.imread(str(face)), cv2.COLOR_BGR2RGB)
        errors.append(
            difference(resized_crop(image, BOXES[1], 112, False), torchvision_crop(image, BOXES[1], 112))
        )
    assert np.mean(errors) < 0.8
    assert np.max(errors) <= 20


@pytest.mark.parametrize("box", BOXES)
def test_shrunk_crop_equals_torchvision(noise_picture, box):
    error = difference(resized_crop(noise_picture, box, 48, False), torchvision_crop(noise_picture, box, 48))
    assert error.max() == 0


@pytest.mark.parametrize("size", [48, 112])
def test_flip_mirrors_the_crop(noise_picture, size):
    plain, mirrored = (resized_crop(noise_picture, BOXES[1], size, flip) for flip in (False, True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


@pytest.mark.parametrize("factor", [0.6, 0.93, 1.0, 1.4])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends_are_within_one_level_of_torchvision(noise_picture, name, factor):
    ours = getattr(render, f"adjust_{name}")(noise_picture, factor)
    assert difference(ours, getattr(F, f"adjust_{name}")(as_tensor(noise_picture), factor)).max() <= 1


@pytest.mark.parametrize("shift", [-0.5, -0.1, -0.03, 0.0, 0.05, 0.1, 0.5])
def test_hue_is_within_one_level_of_torchvision(noise_picture, shift):
    error = difference(render.adjust_hue(noise_picture, shift), F.adjust_hue(as_tensor(noise_picture), shift))
    assert error.max() <= 1


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.floats(0.6, 1.4), st.floats(0.6, 1.4), st.floats(0.8, 1.2), st.floats(-0.1, 0.1)),
    st.permutations(range(4)),
)
def test_whole_jitter_follows_torchvision_in_every_order(picture, factors, order):
    reference = as_tensor(picture)
    for operation in order:
        name = ("brightness", "contrast", "saturation", "hue")[operation]
        reference = getattr(F, f"adjust_{name}")(reference, factors[operation])
    error = difference(render.jitter_colors(picture, np.array(factors), np.array(order)), reference)
    assert error.mean() < 2.5, "torchvision truncates after each of three blends, half a level each"
    assert error.max() <= 10


def test_gray_is_within_one_level_of_torchvision(noise_picture):
    reference = F.rgb_to_grayscale(as_tensor(noise_picture), num_output_channels=3)
    assert difference(render.gray(noise_picture), reference).max() <= 1


def test_solarize_equals_torchvision(noise_picture):
    assert difference(render.solarize(noise_picture), F.solarize(as_tensor(noise_picture), 128)).max() == 0


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 1.37, 2.0])
def test_blur_is_the_gaussian_that_pillow_approximates(picture, noise_picture, sigma):
    exact = F.gaussian_blur(as_tensor(noise_picture), [21, 21], [sigma, sigma])
    inner = (slice(10, -10), slice(10, -10))
    assert difference(render.blur(noise_picture, sigma), exact)[inner].max() <= 2
    pillow = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma))
    error = difference(render.blur(picture, sigma), pillow)
    assert error.mean() < 1.0


def test_flat_image_stays_flat_under_blur():
    flat = np.full((40, 40, 3), (10, 128, 255), np.uint8)
    np.testing.assert_array_equal(render.blur(flat, 1.7), flat)


def test_views_have_one_geometry_in_two_copies(picture):
    sober = ViewSettings(
        jitter_probability=0.0,
        gray_probability=0.0,
        blur_probability=(0.0, 0.0, 0.0),
        solarize_probability=0.0,
        local_size=48,
    )
    views = LafsViews(sober)(picture, random_generator("a"))
    assert views.global_clean.shape == (2, 112, 112, 3)
    assert views.local_clean.shape == (8, 48, 48, 3)
    np.testing.assert_array_equal(views.global_appearance, views.global_clean)
    np.testing.assert_array_equal(views.local_appearance, views.local_clean)
    box, flip = views.parameters.boxes[5].tolist(), views.parameters.flips[5]
    np.testing.assert_array_equal(views.local_clean[3], resized_crop(picture, box, 48, flip))


def test_appearance_is_jitter_gray_blur_solarize_in_this_order(picture):
    always = ViewSettings(
        jitter_probability=1.0,
        gray_probability=1.0,
        blur_probability=(1.0, 1.0, 1.0),
        solarize_probability=1.0,
    )
    views = LafsViews(always)(picture, random_generator("b"))
    drawn, clean = views.parameters, views.global_clean[1]
    reference = as_tensor(clean)
    for operation in drawn.jitter_orders[1]:
        name = ("brightness", "contrast", "saturation", "hue")[operation]
        reference = getattr(F, f"adjust_{name}")(reference, float(drawn.jitter_factors[1, operation]))
    reference = F.rgb_to_grayscale(reference, num_output_channels=3)
    reference = F.gaussian_blur(reference, [13, 13], [float(drawn.blur_sigmas[1])] * 2)
    error = difference(views.global_appearance[1], F.solarize(reference, 128))[7:-7, 7:-7]
    assert error.mean() < 2.5
    assert (error <= 4).mean() > 0.98


def test_views_are_a_pure_function_of_the_generator_even_after_pickling(picture):
    views = LafsViews(ViewSettings())
    first = views(picture, random_generator("c"))
    second = pickle.loads(pickle.dumps(views))(picture, random_generator("c"))
    other = views(picture, random_generator("d"))
    np.testing.assert_array_equal(first.global_appearance, second.global_appearance)
    np.testing.assert_array_equal(first.local_appearance, second.local_appearance)
    assert not np.array_equal(first.local_appearance, other.local_appearance)


def test_without_clean_copies_the_appearance_is_the_same(picture):
    full = LafsViews(ViewSettings())(picture, random_generator("e"))
    lean = LafsViews(ViewSettings(), clean=False)(picture, random_generator("e"))
    assert lean.global_clean is None
    assert lean.local_clean is None
    np.testing.assert_array_equal(lean.local_appearance, full.local_appearance)


def test_no_local_views(picture):
    views = LafsViews(ViewSettings(local_views=0))(picture, random_generator("f"))
    assert views.local_appearance.shape == (0, 112, 112, 3)
    assert views.global_appearance.shape == (2, 112, 112, 3)


@pytest.mark.parametrize("image", [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3), np.float32)])
def test_what_is_no_rgb_image_is_refused(image):
    views = LafsViews(ViewSettings())
    with pytest.raises(LafsError, match="uint8 RGB"):
        views(image, random_generator("g"))
    parameters = views(np.zeros((20, 20, 3), np.uint8), random_generator("g")).parameters
    with pytest.raises(LafsError, match="uint8 RGB"):
        render_views(image, parameters, clean=True)
