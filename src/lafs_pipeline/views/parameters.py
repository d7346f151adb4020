"""Settings of views and augmentation, and what is random about the views of one image.

The draws are a few small arrays, made before anything is rendered.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings

TEACHER_VIEWS = 2
"""The global views, which DINO's teacher sees."""
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
NEUTRAL_JITTER = np.array([1.0, 1.0, 1.0, 0.0])


@settings
class ViewSettings:
    """The views of LAFS (arXiv 2403.08161, section 3): how many, their geometry, appearance and landmarks.

    The first global view, the further global views and the local views differ in their blur; only the
    further global views are ever solarized.

    Raises:
        LafsError: a pair or tuple is out of its range.
    """

    global_views: int = setting("Views that teacher and student see", 2, ge=1)
    local_views: int = setting("Views that only the student sees", 8, ge=0)
    global_scale: tuple[float, float] = setting("Share of the image area in a global view", (0.4, 1.0))
    local_scale: tuple[float, float] = setting("Share of the image area in a local view", (0.4, 1.0))
    size: int = setting("Side of a global view in pixels", 112, ge=8)
    local_size: int = setting("Side of a local view in pixels", 112, ge=8)
    flip_probability: float = setting("Probability of a horizontal flip", 0.5, ge=0, le=1)
    jitter: tuple[float, float, float, float] = setting(
        "Strength of the brightness, contrast, saturation and hue jitter", (0.4, 0.4, 0.2, 0.1)
    )
    jitter_probability: float = setting("Probability of color jitter", 0.8, ge=0, le=1)
    gray_probability: float = setting("Probability of a gray view", 0.2, ge=0, le=1)
    blur_probability: tuple[float, float, float] = setting(
        "Probability of Gaussian blur in the first global, further global and local views", (1.0, 0.1, 0.5)
    )
    blur_radius: tuple[float, float] = setting("Standard deviation of the blur in pixels", (0.1, 2.0))
    solarize_probability: float = setting(
        "Probability of solarization in the further global views", 0.2, ge=0, le=1
    )
    landmark_sigma: float = setting("Standard deviation of the landmark noise in pixels", 5.0, ge=0)
    local_landmarks: int | None = setting(
        "Landmarks that a local view keeps; null keeps all, in order", 36, ge=1
    )
    with_replacement: bool = setting("Draw the landmarks of a local view with replacement", True)
    shuffle_global: bool = setting("Shuffle the landmarks of the global views", False)
    token_positions: Literal["landmark", "order"] = setting(
        "Position embedding of a token: that of its landmark, or that of its place in the order drawn (the "
        "authors' code)",
        "order",
    )

    def __post_init__(self):
        require_scale("global_scale", self.global_scale)
        require_scale("local_scale", self.local_scale)
        require_jitter("jitter", self.jitter)
        if not all(0 <= probability <= 1 for probability in self.blur_probability):
            raise LafsError(f"blur_probability is {self.blur_probability}: expected three numbers in 0..1.")
        low, high = self.blur_radius
        if not 0 < low <= high:
            raise LafsError(
                f"blur_radius is {self.blur_radius}: expected two numbers, 0 < lowest <= highest."
            )


@settings
class AugmentationSettings:
    """The supervised fine-tuning augmentation of LAFS, with the WebFace4M recipe's magnitudes.

    Raises:
        LafsError: a pair or tuple is out of its range.
    """

    size: int = setting("Side of the augmented image in pixels", 112, ge=8)
    flip_probability: float = setting("Probability of a horizontal flip", 0.5, ge=0, le=1)
    randaugment_operations: int = setting("RandAugment operations drawn for an image", 2, ge=0)
    randaugment_magnitude: float = setting("Mean magnitude of RandAugment", 1.0, ge=0, le=10)
    randaugment_magnitude_std: float = setting("Standard deviation of that magnitude", 0.5, ge=0)
    randaugment_probability: float = setting("Probability that a drawn operation is applied", 0.5, ge=0, le=1)
    crop_scale: tuple[float, float] = setting("Share of the image area that a crop keeps", (0.9, 1.0))
    jitter: tuple[float, float, float, float] = setting(
        "Strength of the brightness, contrast, saturation and hue jitter", (0.1, 0.1, 0.1, 0.1)
    )
    erase_probability: float = setting("Probability of erasing a rectangle", 0.5, ge=0, le=1)
    erase_scale: tuple[float, float] = setting("Share of the image area that is erased", (0.02, 0.1))
    mixup_alpha: float = setting("Both parameters of the mixup Beta distribution", 0.2, gt=0)
    mixup_probability: float = setting("Probability that a batch is mixed", 0.1, ge=0, le=1)

    def __post_init__(self):
        require_scale("crop_scale", self.crop_scale)
        require_scale("erase_scale", self.erase_scale)
        require_jitter("jitter", self.jitter)


def require_scale(name: str, scale: tuple[float, float]) -> None:
    """Refuse a pair that is no range of area shares."""
    low, high = scale
    if not 0 < low <= high <= 1:
        raise LafsError(f"{name} is {scale}: expected two numbers, 0 < smallest <= largest <= 1.")


def require_jitter(name: str, strengths: tuple[float, float, float, float]) -> None:
    """Refuse strengths of color jitter that have no meaning."""
    if not (all(0 <= strength <= 1 for strength in strengths[:3]) and 0 <= strengths[3] <= 0.5):
        raise LafsError(
            f"{name} is {strengths}: expected brightness, contrast and saturation in 0..1, hue in 0..0.5."
        )


@settings
class WarpSettings:
    """How strongly faces are warped: a similarity about the center, then a smooth displacement."""

    rotation: float = setting("Standard deviation of the rotation in degrees", 12.0, ge=0)
    log_scale: float = setting("Standard deviation of the logarithm of the scale", 0.15, ge=0)
    shift: float = setting("Standard deviation of the shift along each axis in pixels", 5.0, ge=0)
    displacement: float = setting(
        "Standard deviation of the displacement of each control point along each axis in pixels", 4.0, ge=0
    )
    control_points: int = setting("Control points along each side of the image", 5, ge=2)


@dataclass(frozen=True)
class ViewParameters:
    """The draws for the V views of one image; the global views come first.

    Attributes:
        global_views: number of global views.
        size: side of a global view in pixels.
        local_size: side of a local view in pixels.
        boxes: (V, 4) crop x, y, width, height in whole pixels of the image.
        flips: (V,) whether the crop is mirrored.
        jitters: (V,) whether the colors are jittered.
        jitter_factors: (V, 4) brightness, contrast and saturation factor, hue shift as a share of the circle.
        jitter_orders: (V, 4) the order of those four.
        grays: (V,) whether the view turns gray.
        blur_sigmas: (V,) standard deviation of the blur in pixels, 0 for none.
        solarizes: (V,) whether the view is solarized.
    """

    global_views: int
    size: int
    local_size: int
    boxes: np.ndarray
    flips: np.ndarray
    jitters: np.ndarray
    jitter_factors: np.ndarray
    jitter_orders: np.ndarray
    grays: np.ndarray
    blur_sigmas: np.ndarray
    solarizes: np.ndarray


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
            [settings.gray_probability] * views,
            [blur_first] + [blur_further] * further + [blur_local] * local,
            [0.0] + [settings.solarize_probability] * further + [0.0] * local,
        ]
    )
    scales = [settings.global_scale] * settings.global_views + [settings.local_scale] * local
    boxes = draw_crop_boxes(scales, height, width, generator)
    flips, jitters, grays, blurs, solarizes = generator.random((5, views)) < probabilities
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
        grays=grays,
        blur_sigmas=blurs * generator.uniform(*settings.blur_radius, views),
        solarizes=solarizes,
    )


def draw_crop_boxes(
    scales: list[tuple[float, float]], height: int, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw crops as torchvision's RandomResizedCrop does.

    A share of the area uniform in its scale and a log-uniform aspect ratio in 3/4..4/3 are tried ten times;
    when no try fits into the image, the largest centered crop of an allowed ratio is taken.

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
    """Draw color jitter as torchvision's ColorJitter does.

    Args:
        views: number of rows V.
        strengths: brightness, contrast and saturation factors come from 1 - s..1 + s, hue shifts from -s..s.
        generator: source of randomness.

    Returns:
        Factors (V, 4), in the order of `strengths`, and (V, 4) the order in which to apply them.
    """
    factors = generator.uniform(-1.0, 1.0, (views, 4)) * strengths + NEUTRAL_JITTER
    return factors, generator.random((views, 4)).argsort(axis=1)
