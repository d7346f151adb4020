"""Settings of the views and of the fine-tuning augmentation."""

from typing import Literal

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings


@settings
class ViewSettings:
    """The views of LAFS (arXiv 2403.08161, section 3): how many, their geometry, appearance and landmarks.

    The first global view, the further global views and the local views differ in their blur; only the
    further global views are ever solarised.

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
    jitter_probability: float = setting("Probability of colour jitter", 0.8, ge=0, le=1)
    grey_probability: float = setting("Probability of a grey view", 0.2, ge=0, le=1)
    blur_probability: tuple[float, float, float] = setting(
        "Probability of Gaussian blur in the first global, further global and local views", (1.0, 0.1, 0.5)
    )
    blur_radius: tuple[float, float] = setting("Standard deviation of the blur in pixels", (0.1, 2.0))
    solarise_probability: float = setting(
        "Probability of solarisation in the further global views", 0.2, ge=0, le=1
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
    """Refuse strengths of colour jitter that have no meaning."""
    if not (all(0 <= strength <= 1 for strength in strengths[:3]) and 0 <= strengths[3] <= 0.5):
        raise LafsError(
            f"{name} is {strengths}: expected brightness, contrast and saturation in 0..1, hue in 0..0.5."
        )
