"""Alignment against scikit-image and against faces aligned elsewhere."""

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from lafs_pipeline.faces.alignment import (
    ARCFACE_TEMPLATE,
    FaceDetector,
    align_face,
    similarity_transform,
    transform_points,
)
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.runtime.errors import LafsError


@given(st.lists(st.floats(-500, 500), min_size=10, max_size=10))
@settings(max_examples=50)
def test_similarity_is_scikit_images(values):
    points = np.array(values).reshape(5, 2)
    if np.linalg.matrix_rank(points - points.mean(axis=0), tol=1.0) < 2:
        return
    expected = SimilarityTransform.from_estimate(points, ARCFACE_TEMPLATE.astype(np.float64)).params[:2]
    np.testing.assert_allclose(similarity_transform(points), expected, rtol=1e-6, atol=1e-6)


def test_no_mirroring():
    """Points seen in a mirror are turned, not mirrored back."""
    matrix = similarity_transform(ARCFACE_TEMPLATE * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0


def test_a_moved_face_comes_back():
    rng = np.random.default_rng(0)
    face = cv2.GaussianBlur(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8), (0, 0), 6)
    moved = cv2.getRotationMatrix2D((56, 56), 25, 2.0) + np.array([0, 0, 90])
    scene = cv2.warpAffine(face, moved, (300, 300))
    back = align_face(scene, transform_points(moved, ARCFACE_TEMPLATE))
    assert np.abs(back[20:90, 20:90].astype(int) - face[20:90, 20:90]).mean() < 1


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_impossible_points(points):
    with pytest.raises(LafsError, match="aligned"):
        similarity_transform(points)


def test_missing_and_broken_models(tmp_path):
    with pytest.raises(LafsError, match="does not exist"):
        FaceDetector(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_bytes(b"not a network")
    with pytest.raises(LafsError, match="cannot be loaded"):
        FaceDetector(tmp_path / "yunet.onnx")


@pytest.fixture(scope="module")
def detector(shared_dir):
    return FaceDetector(shared_dir / "models" / "yunet_n_320_320.onnx")


def test_detected_and_aligned_faces_are_those_aligned_elsewhere(shared_dir, detector):
    """Images with one face: where there are several, the other alignment may have chosen another one."""
    originals = sorted((shared_dir / "faces/lfw/original250_folds1-2").glob("*/*.jpg"))[::80]
    differences = []
    for path in originals:
        image = decode_image(path.read_bytes())
        found = detector.detect(image)
        if len(found.scores) != 1:
            continue
        reference = shared_dir / "faces/lfw/aligned112" / path.parent.name / path.name
        aligned = align_face(image, found.points[0])
        differences.append(np.abs(aligned.astype(int) - decode_image(reference.read_bytes())).mean())
    assert len(differences) >= 10
    assert max(differences) < 3


def test_detection_scales_back_and_prefers_the_largest_face(shared_dir, detector):
    path = sorted((shared_dir / "faces/lfw/original250_folds1-2").glob("*/*.jpg"))[0]
    image = decode_image(path.read_bytes())
    points, score = detector.largest(image)
    large = cv2.resize(image, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    scene = np.zeros((1500, 2000, 3), np.uint8)
    scene[:250, :250] = image
    scene[:, 500:] = large
    found = pickle.loads(pickle.dumps(detector)).detect(scene)
    assert found.boxes[0, 2] > 3 * found.boxes[-1, 2]
    expected = (points + 0.5) * 6 - 0.5 + [500, 0]
    assert np.abs(found.points[0] - expected).max() < 0.12 * found.boxes[0, 2]
    assert 0.6 <= score <= 1


def test_no_face(detector):
    with pytest.raises(LafsError, match="no face"):
        detector.largest(np.zeros((64, 64, 3), np.uint8))
