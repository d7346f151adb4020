"""Two numbers that find the same image again: one for equal bytes, one for equal looks."""

import hashlib

import cv2
import numpy as np

_SIDE = 32
_FLAT = 1.0
_BLUR = 4.0


def _odd_frequencies() -> np.ndarray:
    """Flat positions of the 64 lowest frequencies with an odd horizontal part, the lowest first."""
    vertical, horizontal = np.divmod(np.arange(_SIDE * _SIDE), _SIDE)
    odd = np.flatnonzero(horizontal % 2)
    height = vertical[odd] ** 2 + horizontal[odd] ** 2
    return odd[np.argsort(height, kind="stable")[:64]]


_FREQUENCIES = _odd_frequencies()


def exact_hash(encoded: bytes) -> int:
    """64-bit BLAKE2b digest of an image file's bytes, as a signed integer.

    Two different ones of 42 million images have the same digest with a probability of 5e-5.
    """
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little", signed=True)


def perceptual_hash(image: np.ndarray) -> int | None:
    """64 bits that change little when a face is compressed, scaled or lit anew, as a signed integer.

    Bit i is the sign of the i-th lowest frequency with an odd horizontal part, in the cosine transform of the
    image at 32 x 32 gray pixels. Odd frequencies vanish in a symmetric image, as the average face is: other
    than in the usual pHash, whose bits mostly describe the average face, each bit is 0 or 1 about equally
    often. The mirror image has all bits inverted.

    Args:
        image: (height, width, 3) uint8 RGB, an aligned face.

    Returns:
        The bits, or None for an image of one color, which has none.
    """
    gray = _small_gray(image)
    if gray.std() < _FLAT:
        return None
    bits = np.packbits(cv2.dct(gray).ravel()[_FREQUENCIES] > 0)
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """What two images are compared by at a second look: details without lighting, of zero mean and unit norm.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (32, 32) float32 gray values less their Gaussian average (sigma 4); zeros for an image of one color.
    """
    gray = _small_gray(image)
    details = gray - cv2.GaussianBlur(gray, (0, 0), _BLUR)
    details -= details.mean()
    norm = np.linalg.norm(details)
    return details / norm if norm > _FLAT else np.zeros_like(details)


def _small_gray(image: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
