"""Encoded image bytes become RGB arrays, with their size checked before any memory is taken."""

import io
import struct
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import LFS_POINTER

ChannelOrder = Literal["rgb", "bgr"]
MAX_PIXELS = 100_000_000
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_format(encoded: bytes) -> str:
    """`"jpeg"`, `"png"` or `"other"`, from the first bytes."""
    if encoded.startswith(_JPEG_SIGNATURE):
        return "jpeg"
    return "png" if encoded.startswith(_PNG_SIGNATURE) else "other"


def image_size(encoded: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored (before EXIF orientation), read from the header alone.

    Raises:
        LafsError: The bytes are not an image of a known format.
    """
    kind = image_format(encoded)
    size = _jpeg_size(encoded) if kind == "jpeg" else _png_size(encoded) if kind == "png" else None
    if size is not None:
        return size
    if not encoded:
        raise LafsError("it is empty (0 bytes)")
    if encoded.startswith(LFS_POINTER):
        raise LafsError("it is not an image but a Git LFS pointer: fetch that with `git lfs pull`")
    try:
        with Image.open(io.BytesIO(encoded), formats=_PILLOW_FORMATS) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise LafsError(
            "it is not an image of a known format (JPEG, PNG, WebP, BMP, PGM/PPM, TIFF, GIF, AVIF, JPEG 2000)"
        ) from error


def decode_image(
    encoded: bytes, channel_order: ChannelOrder = "rgb", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode to a contiguous (height, width, 3) uint8 RGB array.

    Gray images get three equal channels, 16-bit ones are scaled to 8, transparency is dropped, and EXIF
    orientation is applied.

    Args:
        encoded: The bytes of an image file.
        channel_order: `"bgr"` for sets that were packed with red and blue exchanged.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        LafsError: The reason alone, for the caller to put file and record before it.
    """
    width, height = image_size(encoded)
    if not 0 < width * height <= max_pixels:
        raise LafsError(f"it is {width} x {height} pixels, at most {max_pixels} pixels are decoded")
    flag = cv2.IMREAD_COLOR_RGB if channel_order == "rgb" else cv2.IMREAD_COLOR_BGR
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error as error:
        raise LafsError(f"its image data cannot be decoded ({error.err})") from error
    if image is None:
        raise LafsError("its image data is damaged or cut short")
    return image


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encode an (height, width, 3) uint8 RGB array as JPEG."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1].tobytes()


def _png_size(encoded: bytes) -> tuple[int, int] | None:
    return struct.unpack_from(">II", encoded, 16) if len(encoded) >= 24 else None


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", encoded, position + 5)
            return width, height
        else:
            position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return None
