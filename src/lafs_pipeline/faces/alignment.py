"""Five points to the ArcFace template: detection (YuNet), similarity transform, 112 x 112 warp."""

from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import refuse_lfs_pointer

FaceChoice = Literal["largest", "most_central"]
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Where the left and right eye, nose and mouth corners (as seen in the image) go: (5, 2) x, y in pixels."""


class Detection(NamedTuple):
    """Faces of one image, the largest box first.

    Attributes:
        boxes: (n, 4) float32 left, top, width, height in pixels.
        points: (n, 5, 2) float32 x, y in pixels, in the order of `ARCFACE_TEMPLATE`.
        scores: (n,) float32 in 0..1.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray


def similarity_transform(points: np.ndarray, target: np.ndarray = ARCFACE_TEMPLATE) -> np.ndarray:
    """The rotation, uniform scale and shift that bring `points` closest to `target` in least squares.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    TPAMI 1991, equations 34-43.

    Args:
        points: (n, 2) x, y.
        target: (n, 2) x, y.

    Returns:
        (2, 3) float64 matrix that maps a column (x, y, 1).

    Raises:
        LafsError: The points are not finite or all in one place.
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    if points.shape != target.shape or not np.isfinite(points).all():
        raise LafsError(
            f"points of shape {points.shape} cannot be aligned: {target.shape} finite numbers are needed"
        )
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centered = points - mean
    variance = (centered**2).sum() / len(points)
    if variance < 1e-6:
        raise LafsError("the points lie all in one place and cannot be aligned")
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centered / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    linear = (u * signs) @ vt * ((singular * signs).sum() / variance)
    return np.column_stack([linear, target_mean - linear @ mean])


def align_face(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Warp a face so that its five points meet the ArcFace template.

    Args:
        image: (height, width, 3) uint8.
        points: (5, 2) x, y in pixels of `image`.

    Returns:
        (112, 112, 3) uint8, bilinear, black outside the image.

    Raises:
        LafsError: As :func:`similarity_transform`.
    """
    return cv2.warpAffine(image, similarity_transform(points), (FACE_SIZE, FACE_SIZE), flags=cv2.INTER_LINEAR)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points by a (2, 3) matrix, float32."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


class FaceDetector:
    """YuNet through `cv2.FaceDetectorYN`; opens again after pickling. Not for use by several threads at once.

    Args:
        model_path: YuNet as ONNX.
        min_score: Faces with a lower score are left out.
        max_side: Larger images are shrunk to this longer side for detection; points are given in full size.

    Raises:
        LafsError: The model file is missing or OpenCV cannot load it.
    """

    def __init__(self, model_path: Path | str, min_score: float = 0.6, max_side: int = 640) -> None:
        self._arguments = (model_path, min_score, max_side)
        self.max_side = max_side
        if not Path(model_path).is_file():
            raise LafsError(
                f"Face detector model {model_path} does not exist. Give the path of a YuNet ONNX file "
                "(OpenCV Zoo, face_detection_yunet), or points, or images that are aligned already."
            )
        refuse_lfs_pointer(model_path)
        log_level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score, 0.3, 5000)
            self.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise LafsError(
                f"Face detector model {model_path} cannot be loaded by OpenCV as YuNet: {error.err}. Take "
                "face_detection_yunet from the OpenCV Zoo"
            ) from error
        finally:
            cv2.utils.logging.setLogLevel(log_level)

    def __reduce__(self) -> tuple:
        return type(self), self._arguments

    def detect(self, image: np.ndarray) -> Detection:
        """Find the faces of a (height, width, 3) uint8 RGB image."""
        height, width = image.shape[:2]
        scale = min(1.0, self.max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        self._network.setInputSize(size)
        _, found = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if found is None:
            found = np.zeros((0, 15), np.float32)
        found = found[np.argsort(-found[:, 2] * found[:, 3], kind="stable")]
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        boxes = found[:, :4] * np.tile(stretch, 2)
        return Detection(boxes, found[:, 4:14].reshape(-1, 5, 2) * stretch, found[:, 14])

    def choose(self, image: np.ndarray, choice: FaceChoice = "largest") -> tuple[np.ndarray, float]:
        """Points (5, 2) and score of the face with the largest box, or with its center nearest the image's.

        Raises:
            LafsError: No face was found.
        """
        found = self.detect(image)
        if not len(found.scores):
            raise LafsError("no face was found")
        place = 0
        if choice == "most_central":
            height, width = image.shape[:2]
            centers = found.boxes[:, :2] + found.boxes[:, 2:] / 2
            place = int(np.argmin(np.linalg.norm(centers - [width / 2, height / 2], axis=1)))
        return found.points[place], float(found.scores[place])
