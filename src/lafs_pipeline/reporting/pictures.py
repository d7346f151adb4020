"""Figures and faces as pictures: as pixels, or inside the page."""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSS_DPI = 96
JPEG_QUALITY = WEBP_QUALITY = 90
LARGEST_PNG = 200_000
"""Bytes of a picture that stays as it is."""


@dataclass(frozen=True)
class Picture:
    """An image and what it shows.

    Attributes:
        source: `data:` address.
        width: in CSS pixels, at which a letter of 10 points has the size of one on the page.
        alt: what is seen, for those who do not see it.
    """

    source: str
    width: int
    alt: str


def pixels(figure: "Figure") -> np.ndarray:
    """Draw a figure, (H, W, 3) uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png_picture(png: bytes, alt: str) -> Picture:
    """A file as matplotlib writes it, whose resolution tells its width; large ones, of faces, become WebP."""
    with Image.open(io.BytesIO(png)) as image:
        dpi = image.info.get("dpi", (CSS_DPI, CSS_DPI))[0]
        width = round(image.width * CSS_DPI / dpi)
        if len(png) <= LARGEST_PNG:
            return Picture(_address("image/png", png), width, alt)
        stream = io.BytesIO()
        image.convert("RGB").save(stream, format="webp", quality=WEBP_QUALITY)
    return Picture(_address("image/webp", stream.getvalue()), width, alt)


def svg_picture(figure: "Figure", alt: str) -> Picture:
    """A figure of lines, its letters as outlines; the same figure gives the same bytes."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "lafs"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return Picture(_address("image/svg+xml", stream.getvalue()), round(figure.get_figwidth() * CSS_DPI), alt)


def face_picture(face: np.ndarray, alt: str) -> Picture:
    """A face (H, W, 3) uint8 RGB."""
    _, encoded = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Picture(_address("image/jpeg", encoded.tobytes()), face.shape[1], alt)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
