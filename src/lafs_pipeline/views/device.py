"""Rendering on the training device: all views of a batch at once, in torch and float32.

The loader's workers decode an image and draw its parameters, a hundred and fifty numbers; the uint8 image
goes to the device once and becomes its views there. Geometry is the antialiased bicubic of Pillow and
torchvision: a view is rows x image x columns with two matrices of its own. Appearance is
:mod:`device_appearance`'s. No shape and no branch depends on a draw: the host never waits for the device, and
`torch.compile` sees one graph.

Nothing is rounded on the way, so gray levels differ from :mod:`render`'s by 0.4 in the mean; TF32 matrix
products move them by another 0.04. 164 images take 1.3 GiB for ten views of 112 pixels, 0.5 GiB of it the
result.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.views.device_appearance import WHITE, blur, jitter_and_gray, solarize
from lafs_pipeline.views.parameters import ViewParameters, ViewSettings

DRAWS = (
    "boxes",
    "flips",
    "jitters",
    "jitter_factors",
    "jitter_orders",
    "grays",
    "blur_sigmas",
    "solarizes",
)
"""The fields of :class:`ViewParameters` that differ from image to image."""


@dataclass(frozen=True)
class ViewBatch:
    """The G global and L local views of B images, in [-1, 1], view-major: the B images of view 0 come first.

    Attributes:
        global_appearance: (G * B, 3, size, size) from which the patches are cut.
        local_appearance: (L * B, 3, local_size, local_size) likewise.
        global_clean: (G * B, 3, size, size) the same geometry, untouched colors, None when not wanted.
        local_clean: (L * B, 3, local_size, local_size) likewise.
    """

    global_appearance: torch.Tensor
    local_appearance: torch.Tensor
    global_clean: torch.Tensor | None
    local_clean: torch.Tensor | None


def parameter_arrays(parameters: ViewParameters) -> dict[str, np.ndarray]:
    """The draws for one image as a flat dict, which torch's default collate stacks to (B, V, ...) tensors.

    Args:
        parameters: of V views.

    Returns:
        :data:`DRAWS` by name, real numbers as float32.
    """
    arrays = {name: getattr(parameters, name) for name in DRAWS}
    return {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in arrays.items()
    }


@torch.no_grad()
def render_batch(
    images: torch.Tensor, parameters: dict[str, torch.Tensor], settings: ViewSettings, clean: bool = True
) -> ViewBatch:
    """Render every view of a batch on the device of `images`, in float32 whatever the autocast precision.

    Args:
        images: (B, H, W, 3) uint8 RGB.
        parameters: collated :func:`parameter_arrays`, on the same device; further entries are ignored.
        settings: counts and sizes of the views, those the parameters were drawn with.
        clean: whether to keep the clean copies.

    Raises:
        LafsError: `images` is not (B, H, W, 3) uint8, or `parameters` do not fit it and `settings`.
    """
    count = settings.global_views
    _require_batch(images, parameters, count + settings.local_views)
    draws = {name: parameters[name] for name in DRAWS}
    with torch.autocast(images.device.type, enabled=False):
        planes = images.transpose(2, 3).to(torch.float32, memory_format=torch.contiguous_format)
        if settings.size == settings.local_size:
            both = _render(planes, draws, settings.size, clean)
            whole, local = both[:, :count], both[:, count:]
        else:
            first, rest = (
                {name: draw[:, chosen] for name, draw in draws.items()}
                for chosen in (slice(count), slice(count, None))
            )
            whole = _render(planes, first, settings.size, clean)
            local = _render(planes, rest, settings.local_size, clean)
    whole, local = whole.flatten(1, 2), local.flatten(1, 2)
    return ViewBatch(whole[0], local[0], whole[1] if clean else None, local[1] if clean else None)


def _require_batch(images: torch.Tensor, parameters: dict[str, torch.Tensor], views: int) -> None:
    """Refuse what is no batch of uint8 images with the draws of that many views each."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise LafsError(
            "Views are rendered from a batch of uint8 RGB images (images, height, width, 3), not "
            f"{images.dtype} {tuple(images.shape)}: decode the images to 8-bit RGB of one size first."
        )
    missing = [name for name in DRAWS if name not in parameters]
    if missing:
        raise LafsError(
            f"The parameters of the views lack {', '.join(missing)}: collate the result of parameter_arrays."
        )
    drawn = tuple(parameters["boxes"].shape[:2])
    if drawn != (len(images), views):
        raise LafsError(
            f"Parameters were drawn for {drawn[1]} views of {drawn[0]} images, but {views} views of "
            f"{len(images)} images are to be rendered: draw them with the same settings, for the same batch."
        )


def _render(planes: torch.Tensor, draws: dict[str, torch.Tensor], size: int, clean: bool) -> torch.Tensor:
    """Render views of one size.

    Args:
        planes: (B, H, 3, W) gray levels.
        draws: each (B, V, ...).
        size: side of the views in pixels.
        clean: whether to keep the clean copies.

    Returns:
        (1 + clean, V, B, 3, size, size) in [-1, 1], the appearance copies first.
    """
    count, views = draws["flips"].shape
    flat = {name: draw.flatten(0, 1) for name, draw in draws.items()}
    levels = resized_crops(planes, draws["boxes"], draws["flips"], size)
    copies = levels.new_empty(1 + clean, views, count, 3, size, size)
    darkest = levels.new_full((), -1.0)
    if clean:
        torch.add(darkest, _view_major(levels, count), alpha=2.0 / WHITE, out=copies[1])
    levels = jitter_and_gray(
        levels, flat["jitters"], flat["jitter_factors"], flat["jitter_orders"], flat["grays"]
    )
    levels = solarize(blur(levels, flat["blur_sigmas"]), flat["solarizes"])
    torch.add(darkest, _view_major(levels, count), alpha=2.0 / WHITE, out=copies[0])
    return copies


def _view_major(levels: torch.Tensor, count: int) -> torch.Tensor:
    """Look at (B * V, S, 3, S), the V views of each of `count` images together, as (V, B, 3, S, S)."""
    return levels.unflatten(0, (count, -1)).permute(1, 0, 3, 2, 4)


def resized_crops(planes: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int) -> torch.Tensor:
    """Crop, resize (bicubic, antialiased where it shrinks) and mirror where asked.

    Args:
        planes: (B, H, 3, W) gray levels.
        boxes: (B, V, 4) crop x, y, width, height in pixels.
        flips: (B, V) whether to mirror horizontally.
        size: side of the results in pixels.

    Returns:
        (B * V, size, 3, size) gray levels in 0..255, the V views of an image one after the other.
    """
    count, height, _, width = planes.shape
    columns, rows = resampling_weights(boxes.flatten(0, 1), flips.flatten(), size, max(height, width))
    rows = rows[..., :height].reshape(count, -1, height)
    rows_done = torch.bmm(rows, planes.view(count, height, -1)).view(len(columns), size * 3, width)
    resized = torch.bmm(rows_done, columns[..., :width].transpose(1, 2))
    return resized.clamp_(0.0, WHITE).view(len(columns), size, 3, size)


def resampling_weights(boxes: torch.Tensor, flips: torch.Tensor, size: int, length: int) -> torch.Tensor:
    """The share of every pixel of an image in every pixel of a view, along x and along y.

    The kernel is Keys' cubic (1981) with coefficient -0.5, stretched where a crop shrinks. Pixels outside the
    crop count nothing, and the weights of a pixel sum to one, as in Pillow.

    Args:
        boxes: (N, 4) crop x, y, width, height in pixels.
        flips: (N,) whether the view is mirrored along x.
        size: side of the views in pixels.
        length: longer side of the image in pixels.

    Returns:
        (2, N, size, length) float32.
    """
    origins, extents = boxes.to(torch.float32).T.unflatten(0, (2, 2)).unbind()
    mirrored = torch.stack([flips, torch.zeros_like(flips)])
    ends, steps = origins + extents, extents / size
    starts = torch.where(mirrored, ends, origins)
    places = torch.arange(0.5, size, device=boxes.device)
    centers = starts[..., None] + torch.where(mirrored, -steps, steps)[..., None] * places
    pixels = torch.arange(0.5, length, device=boxes.device)
    distances = (pixels - centers[..., None]).abs_().div_(steps.clamp(min=1.0)[..., None, None])
    inside = (pixels > origins[..., None]) & (pixels < ends[..., None])
    weights = _keys_cubic(distances).mul_(inside[:, :, None])
    return weights.div_(weights.sum(dim=-1, keepdim=True))


def _keys_cubic(distances: torch.Tensor) -> torch.Tensor:
    """Keys' cubic kernel with coefficient -0.5 at non-negative distances, which are overwritten."""
    distances.clamp_(max=2.0)
    near = (1.5 * distances).sub_(2.5).mul_(distances).mul_(distances).add_(1.0)
    far = (-0.5 * distances).add_(2.5).mul_(distances).sub_(4.0).mul_(distances).add_(2.0)
    return torch.where(distances < 1.0, near, far)
