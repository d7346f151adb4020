"""One image of a source becomes an aligned 112 x 112 face, as encoded bytes."""

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from lafs_pipeline.cataloging.hashes import exact_hash, perceptual_hash
from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.faces.alignment import FaceDetector, align_face, similarity_transform, transform_points
from lafs_pipeline.faces.decode import ChannelOrder, decode_image, encode_jpeg, image_format, image_size
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.source import EncodedFace

SMALLEST_FACE = 16
"""Side in pixels below which an image holds no face that could be told from another."""


@dataclass(frozen=True)
class AlignedFace:
    """A face ready to be stored.

    Attributes:
        encoded: JPEG or PNG of 112 x 112 pixels.
        channel_order: What `encoded` decodes to.
        unchanged: Whether `encoded` is what the source gave.
        width: Pixels of the source's image, EXIF orientation applied where it is decoded.
        height: As `width`.
        exact_hash: Of `encoded`.
        perceptual_hash: Of the face; None where it was not decoded or is of one color.
        points: (5, 2) float32 x, y in the aligned image, or None where not known.
        score: Detector score, or None where no detector was asked.
    """

    encoded: bytes
    channel_order: ChannelOrder
    unchanged: bool
    width: int
    height: int
    exact_hash: int
    perceptual_hash: int | None
    points: np.ndarray | None = None
    score: float | None = None


class FaceIntake:
    """Aligns the images of one source as its settings say; may be called by several threads.

    Args:
        settings: The source's settings.
        decode_aligned: False trusts the header of images that are stored as they are.

    Raises:
        LafsError: Faces are not aligned and neither points nor a usable detector are given.
    """

    def __init__(self, settings: SourceSettings, decode_aligned: bool = True) -> None:
        self.settings = settings
        self.decode_aligned = decode_aligned
        self.aligned = settings.aligned or settings.kind == "synthetic"
        self._per_thread = threading.local()
        if self.aligned:
            return
        if settings.detector:
            self._detector()
        elif not settings.points:
            raise LafsError(
                "its faces are not aligned: set `aligned: true` where they are, or give `points` "
                "(a CSV of five points per image) or `detector` (a YuNet ONNX file)."
            )

    def align(self, face: EncodedFace) -> AlignedFace:
        """Align one image.

        Raises:
            LafsError: The image cannot be decoded, or no face can be aligned in it; gives the reason alone.
        """
        ready = self.aligned and _is_ready(face.encoded)
        order, points, score = self.settings.channel_order, face.points, None
        image = decode_image(face.encoded, order) if self.decode_aligned or not ready else None
        height, width = (FACE_SIZE, FACE_SIZE) if image is None else image.shape[:2]
        aligned = image
        if not self.aligned:
            found, score = self._find_points(face, image)
            aligned, points = align_face(image, found), transform_points(similarity_transform(found), found)
        elif not ready:
            aligned, points = _resized(image, points)
        encoded = face.encoded if ready else encode_jpeg(aligned)
        return AlignedFace(
            encoded=encoded,
            channel_order=order if ready else "rgb",
            unchanged=ready,
            width=width,
            height=height,
            exact_hash=exact_hash(encoded),
            perceptual_hash=None if aligned is None else perceptual_hash(aligned),
            points=points,
            score=score,
        )

    def _find_points(self, face: EncodedFace, image: np.ndarray) -> tuple[np.ndarray, float | None]:
        if face.points is not None:
            return face.points, None
        if not self.settings.detector:
            raise LafsError("the points file has no row for it, and no detector is set")
        return self._detector().choose(image, self.settings.choose_face)

    def _detector(self) -> FaceDetector:
        if not hasattr(self._per_thread, "detector"):
            self._per_thread.detector = FaceDetector(self.settings.detector, self.settings.min_score)
        return self._per_thread.detector


def _is_ready(encoded: bytes) -> bool:
    return image_format(encoded) != "other" and image_size(encoded) == (FACE_SIZE, FACE_SIZE)


def _resized(image: np.ndarray, points: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The square image at 112 x 112, and where its points are then."""
    height, width = image.shape[:2]
    if height != width:
        raise LafsError(f"it is {width} x {height} pixels; faces that are aligned already must be square")
    if width < SMALLEST_FACE:
        raise LafsError(f"it is {width} pixels wide; an aligned face has at least {SMALLEST_FACE}")
    method = cv2.INTER_AREA if width > FACE_SIZE else cv2.INTER_LINEAR
    resized = cv2.resize(image, (FACE_SIZE, FACE_SIZE), interpolation=method)
    if points is not None:
        points = ((points + 0.5) * (FACE_SIZE / width) - 0.5).astype(np.float32)
    return resized, points
