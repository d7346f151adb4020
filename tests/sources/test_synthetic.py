"""Synthetic faces: the same bytes everywhere, points on the features, a task neither trivial nor hopeless."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.feature import hog
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import f_classif
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE, similarity_transform
from lafs_pipeline.sources.synthetic.faces import SyntheticFace, draw_face
from lafs_pipeline.sources.synthetic.identity import sample_capture

IDENTITIES, IMAGES, KNOWN = 60, 6, 40

DIGEST_PROGRAM = """
import cv2, hashlib
cv2.setUseOptimized(False)
cv2.setNumThreads(1)
from lafs_pipeline.sources.synthetic.faces import draw_face
digest = hashlib.sha256()
for number in reversed(range(30)):
    digest.update(draw_face(3, number, number).image.tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def faces() -> list[SyntheticFace]:
    """`IMAGES` photographs of each of `IDENTITIES` people, identity by identity."""
    return [draw_face(0, identity, image) for identity in range(IDENTITIES) for image in range(IMAGES)]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.repeat(np.arange(IDENTITIES), IMAGES)


def pair_auc(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """How well cosine similarity tells pairs of one person from pairs of two; chance is 0.5."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    return roc_auc_score(labels[first] == labels[second], (unit @ unit.T)[first, second])


def gray(face: SyntheticFace) -> np.ndarray:
    return cv2.cvtColor(face.image, cv2.COLOR_RGB2GRAY)


def test_image_and_points_have_the_promised_form(faces):
    for face in faces:
        assert face.image.shape == (112, 112, 3)
        assert face.image.dtype == np.uint8
        assert face.points.shape == (5, 2)
        assert face.points.dtype == np.float32
        assert ((face.points > 0) & (face.points < 111)).all()


def test_same_bytes_in_another_process_order_and_instruction_set():
    digest = hashlib.sha256()
    for number in reversed(range(30)):
        digest.update(draw_face(3, number, number).image.tobytes())
    environment = {**os.environ, "OPENCV_IPP": "disabled", "OMP_NUM_THREADS": "1"}
    other = subprocess.run(
        [sys.executable, "-c", DIGEST_PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize("other", [(1, 2, 3), (0, 3, 3), (0, 2, 4)], ids=["seed", "identity", "image"])
def test_every_number_changes_image_and_points(other):
    face, changed = draw_face(0, 2, 3), draw_face(*other)
    assert (face.image != changed.image).mean() > 0.5
    assert np.abs(face.points - changed.points).max() > 0.3


def test_images_of_one_identity_vary(faces):
    images = np.stack([face.image for face in faces]).reshape(IDENTITIES, IMAGES, -1).astype(float)
    for of_one_person in images:
        first, second = np.triu_indices(IMAGES, 1)
        assert np.abs(of_one_person[first] - of_one_person[second]).mean(axis=1).min() > 5


def test_alignment_is_that_of_a_good_but_noisy_detector(faces):
    points = np.stack([face.points for face in faces])
    assert np.linalg.norm(points.mean(axis=0) - ARCFACE_TEMPLATE, axis=1).max() < 2
    corrections = np.stack([similarity_transform(face) for face in points])
    scale = np.sqrt(np.abs(np.linalg.det(corrections[:, :, :2])))
    turn = np.degrees(np.arctan2(corrections[:, 1, 0], corrections[:, 0, 0]))
    assert 0.005 < scale.std() < 0.05
    assert 0.3 < turn.std() < 4
    assert np.abs(scale - 1).max() < 0.15


def test_eye_points_lie_on_the_dark_pupils(faces):
    to_points, to_template = [], []
    for face in faces:
        smooth = cv2.GaussianBlur(gray(face).astype(np.float32), (0, 0), 1.2)
        for point, place in zip(face.points[:2], ARCFACE_TEMPLATE[:2], strict=True):
            left, top = np.rint(place).astype(int) - (8, 5)
            row, column = np.unravel_index(smooth[top : top + 11, left : left + 17].argmin(), (11, 17))
            darkest = (left + column, top + row)
            to_points.append(np.linalg.norm(darkest - point))
            to_template.append(np.linalg.norm(darkest - place))
    assert np.median(to_points) < 2.2
    assert np.median(to_points) < 0.8 * np.median(to_template)


def test_a_real_face_detector_finds_the_faces_and_their_points(faces, shared_dir: Path):
    model = shared_dir / "models" / "yunet_n_320_320.onnx"
    detector = cv2.FaceDetectorYN.create(str(model), "", (224, 224), 0.6)
    errors = []
    for face in faces[::4]:
        framed = cv2.copyMakeBorder(face.image, 56, 56, 56, 56, cv2.BORDER_CONSTANT, value=(128, 128, 128))
        _, found = detector.detect(np.ascontiguousarray(framed[..., ::-1]))
        if found is not None:
            best = found[found[:, -1].argmax()]
            errors.append(np.linalg.norm(best[4:14].reshape(5, 2) - 56 - face.points, axis=1))
    assert len(errors) > 0.85 * len(faces[::4])
    assert (np.median(errors, axis=0) < (4.5, 4.5, 5.5, 7, 7)).all()


def test_identities_differ_in_geometry_more_than_their_images(faces, labels):
    left, right, nose, mouth_left, mouth_right = np.stack([face.points for face in faces], axis=1)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    height = np.linalg.norm(mouth - eyes, axis=1)
    ratios = [
        np.linalg.norm(right - left, axis=1) / height,
        np.linalg.norm(mouth_right - mouth_left, axis=1) / height,
        np.linalg.norm(nose - eyes, axis=1) / height,
    ]
    _, p_value = f_classif(np.stack(ratios, axis=1), labels)
    assert (p_value < 1e-4).all()


def test_pixels_and_color_do_not_give_the_identity_away(faces, labels):
    images = np.stack([face.image for face in faces]).astype(float)
    assert pair_auc(images.reshape(len(images), -1), labels) < 0.66
    assert pair_auc(images.mean(axis=(1, 2)), labels) < 0.62


def test_unseen_identities_can_be_told_apart_by_what_others_teach(faces, labels):
    shape = np.stack([hog(gray(face)[::2, ::2], 9, (7, 7), (2, 2)) for face in faces])
    known = labels < KNOWN
    learner = make_pipeline(
        PCA(60, random_state=0), LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    )
    learner.fit(shape[known], labels[known])
    learned = pair_auc(learner.transform(shape[~known]), labels[~known])
    pixels = np.stack([face.image for face in faces]).astype(float).reshape(len(faces), -1)
    assert learned > pair_auc(pixels[~known], labels[~known]) + 0.05
    assert 0.65 < learned < 0.95


def test_less_variation_makes_people_easier_to_tell_apart(faces, labels):
    def told_apart(variation: float) -> float:
        drawn = [draw_face(0, number // IMAGES, number % IMAGES, variation) for number in range(len(faces))]
        return pair_auc(np.stack([hog(gray(face)[::2, ::2], 9, (7, 7), (2, 2)) for face in drawn]), labels)

    hard, half, easy = (told_apart(variation) for variation in (1.0, 0.5, 0.0))
    assert hard + 0.03 < half < easy - 0.03


@pytest.mark.parametrize("image", range(3))
def test_full_variation_is_the_photograph_and_none_has_no_pose_and_nothing_in_the_way(image):
    assert np.array_equal(draw_face(0, 2, image, 1.0).image, draw_face(0, 2, image).image)
    calm = sample_capture(0, 2, image, 0.0)
    assert (calm.yaw, calm.pitch, calm.roll, calm.smile, calm.light_x) == (0, 0, 0, 0, 0)
    assert (calm.occluder, calm.haircut, calm.shaved, calm.shadowed) == ("none", None, False, False)
    assert calm.glasses_worn
