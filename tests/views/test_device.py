"""The device renderer against torchvision on float images, and against the loader's OpenCV renderer."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import default_collate
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.device import ViewBatch, parameter_arrays, render_batch, resized_crops
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import ViewParameters, ViewSettings, draw_view_parameters
from lafs_pipeline.views.render import render_views

NAMES = ("brightness", "contrast", "saturation", "hue")
SMALL_LOCAL = ViewSettings(local_size=48, local_scale=(0.1, 0.5))
ALWAYS = ViewSettings(
    jitter_probability=1.0, gray_probability=0.5, blur_probability=(1.0, 1.0, 1.0), solarize_probability=0.5
)
NEVER = ViewSettings(
    jitter_probability=0.0,
    gray_probability=0.0,
    blur_probability=(0.0, 0.0, 0.0),
    solarize_probability=0.0,
)


@pytest.fixture(scope="module")
def pictures(picture, noise_picture) -> np.ndarray:
    """(4, 112, 112, 3): edges, noise and two mixtures of them."""
    half = ((picture.astype(int) + noise_picture) // 2).astype(np.uint8)
    return np.stack([picture, noise_picture, half, picture[::-1, :, ::-1]])


def drawn(settings: ViewSettings, images: np.ndarray, name: str) -> list[ViewParameters]:
    return [
        draw_view_parameters(settings, *image.shape[:2], random_generator("device", name, index))
        for index, image in enumerate(images)
    ]


def rendered(
    images: np.ndarray, parameters: list[ViewParameters], settings: ViewSettings, clean: bool = True
) -> ViewBatch:
    collated = default_collate([parameter_arrays(one) for one in parameters])
    return render_batch(torch.from_numpy(images), collated, settings, clean)


def unit(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) as torchvision has float images: (N, 3, H, W) in 0..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0


def levels_apart(views: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Differences in gray levels of images in [-1, 1]."""
    return 127.5 * (views - reference).abs()


def torchvision_crop(image: torch.Tensor, box, flip: bool, size: int) -> torch.Tensor:
    x, y, width, height = (int(number) for number in box)
    view = F.resized_crop(
        image, y, x, height, width, [size, size], InterpolationMode.BICUBIC, antialias=True
    ).clamp(0.0, 1.0)
    return F.horizontal_flip(view) if flip else view


def torchvision_appearance(view: torch.Tensor, parameters: ViewParameters, index: int) -> torch.Tensor:
    """Jitter, gray, blur (SciPy's, with a repeated border) and solarization of one (3, S, S) view in 0..1."""
    if parameters.jitters[index]:
        for operation in parameters.jitter_orders[index]:
            adjust = getattr(F, f"adjust_{NAMES[operation]}")
            view = adjust(view, float(parameters.jitter_factors[index, operation]))
    if parameters.grays[index]:
        view = F.rgb_to_grayscale(view, num_output_channels=3)
    if parameters.blur_sigmas[index]:
        sigma = parameters.blur_sigmas[index]
        smooth = gaussian_filter(view.double().numpy(), (0, sigma, sigma), mode="nearest", truncate=10.0)
        view = torch.from_numpy(smooth).float()
    return F.solarize(view, 128 / 255) if parameters.solarizes[index] else view


@st.composite
def boxes_in(draw, height: int, width: int) -> tuple[int, int, int, int]:
    crop_width, crop_height = draw(st.integers(5, width)), draw(st.integers(5, height))
    x, y = draw(st.integers(0, width - crop_width)), draw(st.integers(0, height - crop_height))
    return x, y, crop_width, crop_height


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(boxes_in(112, 112), st.booleans()), min_size=8, max_size=8),
    st.sampled_from([8, 48, 112, 150]),
)
def test_crops_of_any_box_and_size_are_torchvisions(pictures, draws, size):
    boxes = torch.tensor([box for box, _ in draws]).view(4, 2, 4)
    flips = torch.tensor([flip for _, flip in draws]).view(4, 2)
    images = unit(pictures)
    crops = resized_crops(255.0 * images.transpose(1, 2).contiguous(), boxes, flips, size).transpose(1, 2)
    for index, (image, view) in enumerate(itertools.product(range(4), range(2))):
        reference = torchvision_crop(images[image], boxes[image, view], bool(flips[image, view]), size)
        assert (crops[index] - 255.0 * reference).abs().max() < 0.05


@pytest.mark.parametrize(("height", "width"), [(80, 112), (112, 64)])
def test_images_need_not_be_square(pictures, height, width):
    images = np.ascontiguousarray(pictures[:, :height, :width])
    parameters = drawn(SMALL_LOCAL, images, "oblong")
    views = rendered(images, parameters, SMALL_LOCAL)
    image = unit(images)[3]
    for view in range(8):
        box, flip = parameters[3].boxes[2 + view], parameters[3].flips[2 + view]
        reference = torchvision_crop(image, box, flip, 48) * 2 - 1
        assert levels_apart(views.local_clean[view * 4 + 3], reference).max() < 0.05


@pytest.mark.parametrize(
    "settings", [ViewSettings(), ALWAYS, SMALL_LOCAL], ids=["default", "always", "small"]
)
def test_whole_views_are_torchvisions_and_view_major(pictures, settings):
    parameters = drawn(settings, pictures, "whole")
    views = rendered(pictures, parameters, settings)
    count, total = settings.global_views, settings.global_views + settings.local_views
    clean = [*views.global_clean.split(4), *views.local_clean.split(4)]
    appearance = [*views.global_appearance.split(4), *views.local_appearance.split(4)]
    assert len(clean) == len(appearance) == total
    means = []
    for view, image in itertools.product(range(total), range(4)):
        size = settings.size if view < count else settings.local_size
        box, flip = parameters[image].boxes[view], parameters[image].flips[view]
        reference = torchvision_crop(unit(pictures)[image], box, flip, size)
        assert levels_apart(clean[view][image], reference * 2 - 1).max() < 0.05
        reference = torchvision_appearance(reference, parameters[image], view)
        error = levels_apart(appearance[view][image], reference * 2 - 1)
        assert error.max() < 1.2, "solarization jumps by one level at its threshold"
        means.append(error.mean())
    assert max(means) < 0.05


@pytest.mark.parametrize(
    "settings", [ViewSettings(), ALWAYS, SMALL_LOCAL], ids=["default", "always", "small"]
)
def test_views_are_near_those_of_the_loaders_workers(picture, settings):
    pictures = np.stack([picture, picture[::-1], picture[:, :, ::-1], picture.transpose(1, 0, 2)])
    parameters = drawn(settings, pictures, "worker")
    views = rendered(pictures, parameters, settings)
    singles = [render_views(image, one, clean=True) for image, one in zip(pictures, parameters, strict=True)]
    for kind in ("global_clean", "local_clean", "global_appearance", "local_appearance"):
        stacked = torch.from_numpy(np.stack([getattr(single, kind) for single in singles]))
        reference = to_input(stacked.transpose(0, 1).flatten(0, 1))
        view_means = levels_apart(getattr(views, kind), reference).mean(dim=(1, 2, 3))
        assert view_means.max() < (0.8 if kind.endswith("clean") else 2.0)
        assert view_means.mean() < (0.6 if kind.endswith("clean") else 1.0)


@pytest.mark.parametrize("settings", [NEVER, dataclasses.replace(NEVER, local_size=48)])
def test_operations_that_are_not_drawn_leave_both_copies_alike(pictures, settings):
    parameters = drawn(settings, pictures, "never")
    assert all((one.jitter_factors[:, :3] != 1.0).all() for one in parameters), (
        "factors are drawn all the same"
    )
    views = rendered(pictures, parameters, settings)
    assert views.local_clean.shape == (8 * 4, 3, settings.local_size, settings.local_size)
    torch.testing.assert_close(views.global_appearance, views.global_clean, rtol=0, atol=1e-5)
    torch.testing.assert_close(views.local_appearance, views.local_clean, rtol=0, atol=1e-5)


def test_a_view_depends_on_its_own_image_and_draws_alone(pictures):
    parameters = drawn(ALWAYS, pictures, "own")
    views = rendered(pictures, parameters, ALWAYS)
    images, changed = pictures.copy(), list(parameters)
    images[2] = 255 - images[2]
    changed[2] = drawn(ALWAYS, pictures, "other")[2]
    others = rendered(images, changed, ALWAYS)
    for field in dataclasses.fields(ViewBatch):
        before, after = (getattr(batch, field.name).unflatten(0, (-1, 4)) for batch in (views, others))
        assert torch.equal(before[:, [0, 1, 3]], after[:, [0, 1, 3]])
        assert not torch.equal(before[:, 2], after[:, 2])


def test_values_stay_in_range_and_the_input_stays_as_it_is(noise_picture):
    settings = dataclasses.replace(ALWAYS, jitter=(1.0, 1.0, 1.0, 0.5))
    images = np.stack([noise_picture, np.zeros_like(noise_picture), np.full_like(noise_picture, 255)])
    kept = images.copy()
    views = rendered(images, drawn(settings, images, "range"), settings)
    for field in dataclasses.fields(ViewBatch):
        values = getattr(views, field.name)
        assert values.dtype == torch.float32
        assert values.is_contiguous()
        assert values.isfinite().all()
        assert -1.0 - 1e-5 <= values.min() <= values.max() <= 1.0 + 1e-5
    np.testing.assert_array_equal(images, kept)


def test_without_clean_copies_the_appearance_is_the_same(pictures):
    parameters = drawn(ViewSettings(), pictures, "lean")
    full, lean = (rendered(pictures, parameters, ViewSettings(), clean) for clean in (True, False))
    assert lean.global_clean is None
    assert lean.local_clean is None
    assert torch.equal(lean.global_appearance, full.global_appearance)
    assert torch.equal(lean.local_appearance, full.local_appearance)


@pytest.mark.parametrize("local_size", [112, 48])
def test_no_local_views(pictures, local_size):
    settings = ViewSettings(local_views=0, local_size=local_size)
    views = rendered(pictures, drawn(settings, pictures, "global only"), settings)
    assert views.global_clean.shape == (8, 3, 112, 112)
    assert views.local_appearance.shape == (0, 3, local_size, local_size)


def test_autocast_changes_nothing(pictures):
    parameters = drawn(ViewSettings(), pictures, "autocast")
    plain = rendered(pictures, parameters, ViewSettings())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = rendered(pictures, parameters, ViewSettings())
    assert torch.equal(cast.global_clean, plain.global_clean)
    assert torch.equal(cast.local_appearance, plain.local_appearance)


def test_one_graph_gives_the_same_views(pictures):
    parameters = drawn(SMALL_LOCAL, pictures, "graph")
    collated = default_collate([parameter_arrays(one) for one in parameters])
    images = torch.from_numpy(pictures)
    graph = torch.compile(render_batch, backend="eager", fullgraph=True)
    expected, result = (render(images, collated, SMALL_LOCAL) for render in (render_batch, graph))
    assert torch.equal(result.global_appearance, expected.global_appearance)
    assert torch.equal(result.local_clean, expected.local_clean)


class Launches(TorchDispatchMode):
    """Count the operations that are more than another look at a tensor: on a GPU about one kernel each."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def test_a_batch_takes_few_launches(pictures):
    collated = default_collate([parameter_arrays(one) for one in drawn(ViewSettings(), pictures, "launches")])
    images = torch.from_numpy(pictures)
    with Launches() as launches:
        render_batch(images, collated, ViewSettings())
    assert 0 < launches.count <= 150


@pytest.mark.parametrize("settings", [ViewSettings(), SMALL_LOCAL], ids=["default", "small"])
def test_on_a_gpu_the_host_waits_for_nothing(pictures, settings):
    """Fake CUDA tensors have no values: whatever reads one on the host, or mixes devices, fails."""
    collated = default_collate([parameter_arrays(one) for one in drawn(settings, pictures, "fake")])
    with FakeTensorMode():
        images = torch.empty(pictures.shape, dtype=torch.uint8, device="cuda")
        parameters = {
            name: torch.empty(draw.shape, dtype=draw.dtype, device="cuda") for name, draw in collated.items()
        }
        views = render_batch(images, parameters, settings)
    assert views.local_appearance.device.type == "cuda"
    assert views.local_appearance.shape == (32, 3, settings.local_size, settings.local_size)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_renders_what_the_cpu_renders(pictures):
    collated = default_collate([parameter_arrays(one) for one in drawn(ViewSettings(), pictures, "gpu")])
    there = {name: draw.cuda() for name, draw in collated.items()}
    images = torch.from_numpy(pictures)
    views, reference = (
        render_batch(*inputs, ViewSettings()) for inputs in ((images.cuda(), there), (images, collated))
    )
    for field in dataclasses.fields(ViewBatch):
        error = levels_apart(getattr(views, field.name).cpu(), getattr(reference, field.name))
        assert error.mean() < 0.05
        assert error.max() < 1.2


def test_parameters_collate_and_no_draw_is_forgotten(pictures):
    parameters = drawn(ViewSettings(), pictures, "collate")
    arrays = [parameter_arrays(one) for one in parameters]
    fields = {field.name for field in dataclasses.fields(ViewParameters)}
    assert set(arrays[0]) == fields - {"global_views", "size", "local_size"}
    collated = default_collate(
        [{"image": image, **array} for image, array in zip(pictures, arrays, strict=True)]
    )
    assert collated["image"].shape == pictures.shape
    for name in arrays[0]:
        assert collated[name].shape[:2] == (4, 10)
        assert collated[name].dtype != torch.float64
        np.testing.assert_allclose(collated[name][1], getattr(parameters[1], name), rtol=1e-6)


def test_what_does_not_fit_is_refused(pictures):
    settings = ViewSettings()
    collated = default_collate([parameter_arrays(one) for one in drawn(settings, pictures, "refused")])
    images = torch.from_numpy(pictures)
    for wrong in (images.float(), images[0], images[..., :1], images[:0]):
        with pytest.raises(LafsError, match="uint8 RGB"):
            render_batch(wrong, collated, settings)
    with pytest.raises(LafsError, match="10 views of 4 images, but 10 views of 3"):
        render_batch(images[:3], collated, settings)
    with pytest.raises(LafsError, match="10 views of 4 images, but 6 views of 4"):
        render_batch(images, collated, ViewSettings(local_views=4))
    with pytest.raises(LafsError, match="lack grays"):
        render_batch(images, {name: draw for name, draw in collated.items() if name != "grays"}, settings)
