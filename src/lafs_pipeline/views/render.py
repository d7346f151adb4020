"""Rendering: an image and drawn parameters become pixels, in uint8 throughout.

The operations mean what torchvision's mean; they round where it truncates, at most one level apart each. Only
one differs by more: a crop that is enlarged goes through OpenCV's bicubic (coefficient -0.75) instead of
torchvision's and Pillow's (-0.5), which saves a sixth of the whole time; on aligned faces the two differ by
0.5 gray levels in the mean, 16 at most. A crop that shrinks goes through torchvision's antialiased bicubic.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.views.parameters import ViewParameters, ViewSettings, draw_view_parameters

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601 weights of red, green and blue."""
TO_GRAY = np.array([LUMA] * 3)
COLOR_PART = np.eye(3) - TO_GRAY
SOLARIZE_THRESHOLD = 128


@dataclass(frozen=True)
class MultiView:
    """The G global and L local views of one image, uint8 RGB.

    Attributes:
        global_appearance: (G, size, size, 3) from which the patches are cut.
        local_appearance: (L, local_size, local_size, 3) likewise.
        global_clean: (G, size, size, 3) the same geometry with untouched colors, None when not wanted.
        local_clean: (L, local_size, local_size, 3) likewise.
        parameters: what was drawn, global views first.
    """

    global_appearance: np.ndarray
    local_appearance: np.ndarray
    global_clean: np.ndarray | None
    local_clean: np.ndarray | None
    parameters: ViewParameters


class LafsViews:
    """Draw and render the views of an image; picklable, without state.

    Args:
        settings: what to draw.
        clean: whether to keep the clean copies, which a landmark network needs and a grid model does not.
    """

    def __init__(self, settings: ViewSettings, clean: bool = True):
        self.settings = settings
        self.clean = clean

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> MultiView:
        """Render the views that `generator` gives of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            generator: source of randomness.
        """
        require_image(image)
        parameters = draw_view_parameters(self.settings, *image.shape[:2], generator)
        return render_views(image, parameters, self.clean)


def render_views(image: np.ndarray, parameters: ViewParameters, clean: bool) -> MultiView:
    """Render every view, each with its own geometry, from which the clean and the appearance copy come.

    Args:
        image: (H, W, 3) uint8 RGB.
        parameters: drawn for an image of this height and width.
        clean: whether to keep the clean copies.

    Raises:
        LafsError: `image` is not (H, W, 3) uint8.
    """
    require_image(image)
    views = range(len(parameters.boxes))
    count = parameters.global_views
    global_clean, global_appearance = _render(image, parameters, views[:count], parameters.size)
    local_clean, local_appearance = _render(image, parameters, views[count:], parameters.local_size)
    if not clean:
        global_clean = local_clean = None
    return MultiView(global_appearance, local_appearance, global_clean, local_clean, parameters)


def _render(
    image: np.ndarray, parameters: ViewParameters, views: range, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Render the clean and the appearance copies of views of one size."""
    clean = np.empty((len(views), size, size, 3), np.uint8)
    appearance = np.empty_like(clean)
    for row, view in enumerate(views):
        clean[row] = resized_crop(image, parameters.boxes[view].tolist(), size, parameters.flips[view])
        appearance[row] = _appearance(clean[row], view, parameters)
    return clean, appearance


def _appearance(view: np.ndarray, index: int, parameters: ViewParameters) -> np.ndarray:
    """Apply the drawn appearance of one view."""
    if parameters.jitters[index]:
        view = jitter_colors(view, parameters.jitter_factors[index], parameters.jitter_orders[index])
    if parameters.grays[index]:
        view = gray(view)
    if parameters.blur_sigmas[index]:
        view = blur(view, parameters.blur_sigmas[index])
    if parameters.solarizes[index]:
        view = solarize(view)
    return view


def require_image(image: np.ndarray) -> None:
    """Refuse what is no (H, W, 3) uint8 image."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise LafsError(
            f"Views are rendered from uint8 RGB images (height, width, 3), not {image.dtype} {image.shape}: "
            "decode the image to 8-bit RGB first."
        )


def resized_crop(image: np.ndarray, box: tuple[int, int, int, int], size: int, flip: bool) -> np.ndarray:
    """Crop, resize (bicubic, antialiased where it shrinks) and mirror if asked.

    Args:
        image: (H, W, 3) uint8.
        box: x, y, width, height.
        size: side of the result in pixels.
        flip: whether to mirror horizontally.

    Returns:
        (size, size, 3) uint8.
    """
    x, y, width, height = box
    crop = image[y : y + height, x : x + width]
    if size >= max(width, height):
        resized = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
    else:
        pixels = torch.from_numpy(np.ascontiguousarray(crop))[None].permute(0, 3, 1, 2)
        shrunk = torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
        resized = shrunk.permute(0, 2, 3, 1)[0].numpy()
    return cv2.flip(resized, 1) if flip else resized


def jitter_colors(image: np.ndarray, factors: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Jitter brightness, contrast, saturation and hue (torchvision's ColorJitter).

    Args:
        image: (H, W, 3) uint8 RGB.
        factors: (4,) brightness, contrast, saturation factor and hue shift.
        order: (4,) the order in which to apply them.
    """
    for operation in order.tolist():
        image = COLOR_OPERATIONS[operation](image, float(factors[operation]))
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black; `factor` 1 keeps the image."""
    return cv2.convertScaleAbs(image, alpha=factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean gray level; `factor` 1 keeps the image."""
    red, green, blue, _ = cv2.mean(image)
    mean = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return cv2.addWeighted(image, factor, image, 0.0, (1.0 - factor) * mean)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend every pixel with its gray level; `factor` 1 keeps the image."""
    return cv2.transform(image, TO_GRAY + factor * COLOR_PART)


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by `shift` (in -0.5..0.5 of the circle), in float32 HSV."""
    rgb = image.astype(np.float32)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv.reshape(-1)[::3] += 360.0 * (shift % 1.0)
    return cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=rgb))


COLOR_OPERATIONS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
"""In the order of the factors."""


def gray(image: np.ndarray) -> np.ndarray:
    """Three equal channels of ITU-R 601 luma."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of standard deviation `sigma` pixels, cut at about 3 sigma; the border repeats."""
    kernel = cv2.getGaussianKernel(round(6.0 * sigma + 1.0) | 1, sigma)
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def solarize(image: np.ndarray) -> np.ndarray:
    """Invert the values from 128 upwards."""
    return cv2.LUT(image, SOLARIZED)


SOLARIZED = np.where(np.arange(256) < SOLARIZE_THRESHOLD, np.arange(256), 255 - np.arange(256)).astype(
    np.uint8
)
