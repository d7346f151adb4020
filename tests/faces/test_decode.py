"""Decoding against Pillow, and the refusal of what must not be decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lafs_pipeline.faces.decode import decode_image, encode_jpeg, image_format, image_size
from lafs_pipeline.runtime.errors import LafsError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(pixels, kind):
    data = encoded(Image.fromarray(pixels), kind)
    assert image_size(data) == (14, 9)
    np.testing.assert_array_equal(decode_image(data), pixels)
    np.testing.assert_array_equal(decode_image(data, "bgr"), pixels[..., ::-1])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + bytes(50)}])
def test_jpeg_size_without_decoding(pixels, options):
    data = encoded(Image.fromarray(pixels), "JPEG", **options)
    assert image_format(data) == "jpeg"
    assert image_size(data) == (14, 9)


def test_gray_transparent_and_16_bit(pixels):
    gray = pixels[..., 0]
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(gray), "PNG")), expected)
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_image(encoded(deep, "PNG")), expected)
    transparent = Image.fromarray(np.dstack([pixels, gray]))
    np.testing.assert_array_equal(decode_image(encoded(transparent, "PNG")), pixels)


def test_cmyk_and_single_pixels(pixels):
    data = encoded(Image.fromarray(np.repeat(pixels, 8, axis=1).repeat(8, axis=0)).convert("CMYK"), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data).astype(int) - expected).mean() < 3
    assert decode_image(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG")).tolist() == [[[9, 8, 7]]]


@pytest.mark.slow
def test_large_photographs():
    assert decode_image(encoded(Image.new("L", (10_000, 10_000), 7), "JPEG")).shape == (10_000, 10_000, 3)
    with pytest.raises(LafsError, match="10001 x 10000 pixels"):
        decode_image(encoded(Image.new("L", (10_001, 10_000)), "JPEG"))


def test_exif_orientation_is_honored(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95, subsampling=0)
    upright = decode_image(data)
    assert upright.shape == (14, 9, 3)
    turned = np.rot90(np.asarray(Image.open(io.BytesIO(data))), -1)
    assert np.abs(upright.astype(int) - turned).mean() < 2


def test_encode_jpeg_keeps_channel_order():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(decode_image(encode_jpeg(red)).astype(int) - red).max() <= 3


def test_large_images_are_refused_before_decoding():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(LafsError, match="2147483647 x 2147483647 pixels"):
        decode_image(bomb)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_images_are_refused(pixels, kind):
    data = encoded(Image.fromarray(np.tile(pixels, (20, 20, 1))), kind)
    for cut in (0, 3, 20, len(data) // 2, len(data) - 20):
        with pytest.raises(LafsError, match=r"empty|not an image|damaged"):
            decode_image(data[:cut])


def test_text_is_not_an_image():
    with pytest.raises(LafsError, match="not an image"):
        decode_image(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
