"""Images for the tests of the views."""

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """A smooth, colorful 112 x 112 image whose values span 0..255, with some sharp edges."""
    noise = np.random.default_rng(0).normal(size=(112, 112, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 5.0)
    image = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    image[40:60, 30:80] = (230, 20, 90)
    image[70:75, :] = 128
    return image


@pytest.fixture(scope="session")
def noise_picture() -> np.ndarray:
    """White noise, the worst case for every tolerance."""
    return np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
