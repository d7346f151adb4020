"""The augmentation of supervised fine-tuning (LAFS, arXiv 2403.08161; the authors' magnitudes)."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment, rand_augment_ops
from torchvision.transforms import RandomErasing

from lafs_pipeline.views.parameters import AugmentationSettings, draw_crop_boxes, draw_jitter
from lafs_pipeline.views.render import jitter_colors, require_image, resized_crop

RANDAUGMENT_OPERATIONS = (
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
)
"""timm's increasing operations without the solarizing ones; translations are shares of the image side."""


class SupervisedAugmentation:
    """Flip, RandAugment, RandomResizedCrop, ColorJitter and RandomErasing, in this order; picklable.

    Args:
        settings: sizes, probabilities and magnitudes.
    """

    def __init__(self, settings: AugmentationSettings):
        self.settings = settings
        operations = rand_augment_ops(
            magnitude=settings.randaugment_magnitude,
            prob=settings.randaugment_probability,
            hparams={"magnitude_std": settings.randaugment_magnitude_std},
            transforms=list(RANDAUGMENT_OPERATIONS),
        )
        self.rand_augment = RandAugment(operations, settings.randaugment_operations)
        self.erase = RandomErasing(settings.erase_probability, settings.erase_scale, value=0, inplace=True)

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Augment one image; the result is a function of the image and the generator's state alone.

        The erased rectangle is black, -1 after :func:`normalize.to_input`: erasing stands before scaling.

        Args:
            image: (H, W, 3) uint8 RGB.
            generator: source of randomness. timm and torchvision draw from the process-wide generators, which
                are seeded from it for the call and then put back; so not for concurrent threads.

        Returns:
            (size, size, 3) uint8 RGB.

        Raises:
            LafsError: `image` is not (H, W, 3) uint8.
        """
        require_image(image)
        settings = self.settings
        if generator.random() < settings.flip_probability:
            image = cv2.flip(image, 1)
        (box,) = draw_crop_boxes([settings.crop_scale], *image.shape[:2], generator).tolist()
        (factors,), (order,) = draw_jitter(1, settings.jitter, generator)
        with global_generators_seeded(generator):
            image = np.asarray(self.rand_augment(Image.fromarray(image)))
            image = jitter_colors(resized_crop(image, box, settings.size, flip=False), factors, order)
            self.erase(torch.from_numpy(image).permute(2, 0, 1))
        return image


@contextmanager
def global_generators_seeded(generator: np.random.Generator) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generator for the body, and restore their states after it."""
    seeds = generator.integers(2**32, size=3).tolist()
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        random.seed(seeds[0])
        np.random.seed(seeds[1])
        torch.default_generator.manual_seed(seeds[2])
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def mixup(
    images: torch.Tensor, alpha: float, probability: float, generator: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Mix a batch with its own reverse, one lambda for the batch (mixup, arXiv 1710.09412).

    The arithmetic of timm's `Mixup` in batch mode, which draws from NumPy's process-wide generator, changes
    its input and refuses odd batches.

    Args:
        images: (B, ...) floating point.
        alpha: both parameters of the Beta distribution of lambda.
        probability: probability that the batch is mixed at all.
        generator: source of randomness; a batch takes the same draws from it whether mixed or not.

    Returns:
        images: mixed; the partner of image i is image B - 1 - i.
        lambda: share of the images themselves in 0..1, 1 where they are not mixed.
    """
    mixes, weight = generator.random() < probability, float(generator.beta(alpha, alpha))
    if not mixes:
        return images, 1.0
    return weight * images + (1.0 - weight) * images.flip(0), weight
