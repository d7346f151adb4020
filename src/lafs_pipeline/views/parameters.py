"""What is random about the views of one image: a few small arrays, drawn before anything is rendered."""

import math
from dataclasses import dataclass

import numpy as np

from lafs_pipeline.views.settings import ViewSettings

CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
NEUTRAL_JITTER = np.array([1.0, 1.0, 1.0, 0.0])


@dataclass(frozen=True)
class ViewParameters:
    """The draws for the V views of one image; the global views come first.

    Attributes:
        global_views: number of global views.
        size: side of a global view in pixels.
        local_size: side of a local view in pixels.
        boxes: (V, 4) crop x, y, width, height in whole pixels of the image.
        flips: (V,) whether the crop is mirrored.
        jitters: (V,) whether the colours are jittered.
        jitter_factors: (V, 4) brightness, contrast and saturation factor, hue shift as a share of the circle.
        jitter_orders: (V, 4) the order of those four.
        greys: (V,) whether the view turns grey.
        blur_sigmas: (V,) standard deviation of the blur in pixels, 0 for none.
        solarises: (V,) whether the view is solarised.
    """

    global_views: int
    size: int
    local_size: int
    boxes: np.ndarray
    flips: np.ndarray
    jitters: np.ndarray
    jitter_factors: np.ndarray
    jitter_orders: np.ndarray
    greys: np.ndarray
    blur_sigmas: np.ndarray
    solarises: np.ndarray


def draw_view_parameters(
    settings: ViewSettings, height: int, width: int, generator: np.random.Generator
) -> ViewParameters:
    """Draw the views of one image (LAFS, arXiv 2403.08161; DINO, arXiv 2104.14294).

    Every field is drawn whether it comes to be used or not, so a changed probability moves no other draw.

    Args:
        settings: what to draw.
        height: height of the image in pixels.
        width: width of the image in pixels.
        generator: the only source of randomness; it advances by an amount that the view counts fix.
    """
    further, local = settings.global_views - 1, settings.local_views
    views = 1 + further + local
    blur_first, blur_further, blur_local = settings.blur_probability
    probabilities = np.array(
        [
            [settings.flip_probability] * views,
            [settings.jitter_probability] * views,
            [settings.grey_probability] * views,
            [blur_first] + [blur_further] * further + [blur_local] * local,
            [0.0] + [settings.solarise_probability] * further + [0.0] * local,
        ]
    )
    scales = [settings.global_scale] * settings.global_views + [settings.local_scale] * local
    boxes = draw_crop_boxes(scales, height, width, generator)
    flips, jitters, greys, blurs, solarises = generator.random((5, views)) < probabilities
    jitter_factors, jitter_orders = draw_jitter(views, settings.jitter, generator)
    return ViewParameters(
        global_views=settings.global_views,
        size=settings.size,
        local_size=settings.local_size,
        boxes=boxes,
        flips=flips,
        jitters=jitters,
        jitter_factors=jitter_factors,
        jitter_orders=jitter_orders,
        greys=greys,
        blur_sigmas=blurs * generator.uniform(*settings.blur_radius, views),
        solarises=solarises,
    )


def draw_crop_boxes(
    scales: list[tuple[float, float]], height: int, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw crops as torchvision's RandomResizedCrop does.

    A share of the area uniform in its scale and a log-uniform aspect ratio in 3/4..4/3 are tried ten times;
    when no try fits into the image, the largest centred crop of an allowed ratio is taken.

    Args:
        scales: V pairs, the smallest and the largest share of the image area.
        height: height of the image in pixels.
        width: width of the image in pixels.
        generator: source of randomness.

    Returns:
        (V, 4) int64: x, y, width, height.
    """
    tries = generator.random((len(scales), CROP_TRIES, 2)).tolist()
    positions = generator.random((len(scales), 2)).tolist()
    boxes = [_crop_box(height, width, *drawn) for drawn in zip(scales, tries, positions, strict=True)]
    return np.array(boxes, dtype=np.int64).reshape(-1, 4)


def _crop_box(
    height: int, width: int, scale: tuple[float, float], tries: list[list[float]], position: list[float]
) -> tuple[int, int, int, int]:
    """Place the first try (area share and aspect ratio) that fits; every number drawn is uniform in 0..1."""
    low, high = scale
    smallest_ratio, largest_ratio = CROP_RATIO
    for share, ratio in tries:
        area = height * width * (low + (high - low) * share)
        aspect = smallest_ratio * (largest_ratio / smallest_ratio) ** ratio
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            x, y = int(position[0] * (width - crop_width + 1)), int(position[1] * (height - crop_height + 1))
            return x, y, crop_width, crop_height
    crop_width = min(width, round(height * largest_ratio))
    crop_height = min(height, round(width / smallest_ratio))
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height


def draw_jitter(
    views: int, strengths: tuple[float, float, float, float], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw colour jitter as torchvision's ColorJitter does.

    Args:
        views: number of rows V.
        strengths: brightness, contrast and saturation factors come from 1 - s..1 + s, hue shifts from -s..s.
        generator: source of randomness.

    Returns:
        Factors (V, 4), in the order of `strengths`, and (V, 4) the order in which to apply them.
    """
    factors = generator.uniform(-1.0, 1.0, (views, 4)) * strengths + NEUTRAL_JITTER
    return factors, generator.random((views, 4)).argsort(axis=1)
