"""Augmentation of supervised training.

Source: LAFS (CVPR 2024, arXiv 2403.08161), section 4.1; RandAugment (arXiv 1909.13719) as in timm.
"""

import random

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment, rand_augment_ops
from torch import Tensor

from lafs_pipeline.views.parameters import draw_crop_boxes, draw_jitter
from lafs_pipeline.views.render import jitter_colours, require_image, resized_crop
from lafs_pipeline.views.settings import AugmentationSettings

RANDAUGMENT_OPERATIONS = [
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
]
ERASE_RATIO = (0.3, 3.3)
ERASE_TRIES = 10


class SupervisedAugmentation:
    """uint8 (H, W, 3) RGB -> uint8 (size, size, 3): flip, RandAugment, crop, colour jitter, erasing."""

    def __init__(self, options: AugmentationSettings) -> None:
        self.options = options
        self.randaugment = RandAugment(
            rand_augment_ops(
                options.randaugment_magnitude,
                options.randaugment_probability,
                {"magnitude_std": options.randaugment_magnitude_std, "magnitude_max": 10},
                RANDAUGMENT_OPERATIONS,
            ),
            options.randaugment_operations,
        )

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Augment an image; the result is a function of image and generator alone."""
        require_image(image)
        options = self.options
        flip = generator.random() < options.flip_probability
        image = self._randaugment(image[:, ::-1] if flip else image, generator)
        box = draw_crop_boxes([options.crop_scale], *image.shape[:2], generator)[0]
        image = resized_crop(image, tuple(box.tolist()), options.size, flip=False)
        factors, order = draw_jitter(1, options.jitter, generator)
        return self._erase(jitter_colours(np.ascontiguousarray(image), factors[0], order[0]), generator)

    def _randaugment(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Timm draws from global generators: seed them for the call and put them back."""
        seed = int(generator.integers(2**32))
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            return np.array(self.randaugment(Image.fromarray(np.ascontiguousarray(image))))
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])

    def _erase(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Blacken a rectangle (Random Erasing, arXiv 1708.04896), drawn as torchvision does."""
        height, width = image.shape[:2]
        if generator.random() >= self.options.erase_probability:
            return image
        for _ in range(ERASE_TRIES):
            area = height * width * generator.uniform(*self.options.erase_scale)
            ratio = np.exp(generator.uniform(*np.log(ERASE_RATIO)))
            rows, columns = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if rows < height and columns < width:
                top, left = generator.integers(height - rows + 1), generator.integers(width - columns + 1)
                image[top : top + rows, left : left + columns] = 0
                return image
        return image


def mixup(
    images: Tensor, targets: Tensor, alpha: float, probability: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a batch with itself reversed (mixup, arXiv 1710.09412), one lambda a batch.

    Args:
        images: (B, ...) float.
        targets: (B, classes) float.
        alpha: both parameters of the Beta distribution of lambda.
        probability: that the batch is mixed at all.
        generator: source of randomness.
    """
    if generator.random() >= probability:
        return images, targets
    weight = float(generator.beta(alpha, alpha))
    return torch.lerp(images.flip(0), images, weight), torch.lerp(targets.flip(0), targets, weight)
