"""The regression to annotated points, on landmarks whose knowledge is known, and on 300-W's layout."""

import cv2
import numpy as np
import pytest

from lafs_pipeline.evaluation.landmarks.truth import (
    AnnotatedFaces,
    faces_with_points,
    jittered,
    judge_landmarks,
    read_annotated_faces,
    regression_error,
)
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.synthetic.faces import draw_face

COUNT = 40


@pytest.fixture
def faces() -> AnnotatedFaces:
    generator = np.random.default_rng(0)
    shapes = generator.normal(56, 20, (68, 2)) + generator.normal(0, 3, (COUNT, 68, 2))
    return AnnotatedFaces(np.zeros((COUNT, 112, 112, 3), np.uint8), shapes, np.full(COUNT, 60.0))


def test_landmarks_that_are_the_points_leave_little(faces):
    error, mean_shape = regression_error(faces.points, faces)
    # 3 px of noise on both axes are 3 * sqrt(pi / 2) px in the mean, a little more over 32 faces' mean shape.
    assert mean_shape == pytest.approx(3 * np.sqrt(np.pi / 2) * np.sqrt(1 + 1 / 32) / 60, rel=0.02)
    assert error < 0.9 * mean_shape  # 31 noisy faces tell the regression little


def test_landmarks_that_follow_two_modes_of_shape_tell_them(faces):
    generator = np.random.default_rng(1)
    modes, weights = generator.normal(0, 1, (2, 68 * 2)), generator.normal(0, 3, (COUNT, 2))
    shapes = (weights @ modes).reshape(COUNT, 68, 2) + 56
    error, mean_shape = regression_error(shapes[:, ::7] * 2 - 30, faces._replace(points=shapes))
    assert error < 0.05 * mean_shape


def test_landmarks_that_ignore_the_face_are_the_mean_shape(faces):
    still = np.broadcast_to(np.random.default_rng(1).uniform(0, 111, (49, 2)), (COUNT, 49, 2))
    error, mean_shape = regression_error(still, faces)
    assert error == pytest.approx(mean_shape)


def test_jitter_moves_points_with_the_face():
    drawn = [draw_face(0, identity, 0) for identity in range(4)]
    faces = AnnotatedFaces(
        np.stack([face.image for face in drawn]), np.stack([face.points for face in drawn]), np.full(4, 50.0)
    )
    moved = jittered(faces, seed=3)
    assert not np.allclose(moved.points, faces.points, atol=1)
    for before, after, old, new in zip(faces.images, moved.images, faces.points, moved.points, strict=True):
        # The similarity between both sets of points maps one image onto the other.
        transform, _ = cv2.estimateAffinePartial2D(old.astype(np.float32), new.astype(np.float32))
        expected = cv2.warpAffine(before, transform, (112, 112), borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(expected[20:92, 20:92].astype(float) - after[20:92, 20:92]).mean() < 3


def test_real_annotations_are_read(shared_dir):
    faces = read_annotated_faces(shared_dir / "faces/w300_afw/afw")
    assert faces.points.shape[1:] == (68, 2)
    assert faces.images.shape == (len(faces.points), 112, 112, 3)
    template = np.array([[38.3, 51.7], [73.5, 51.5]])
    eyes = np.stack([faces.points[:, 36:42].mean(axis=1), faces.points[:, 42:48].mean(axis=1)], axis=1)
    assert np.abs(eyes.mean(axis=0) - template).max() < 2
    still = np.zeros((len(faces.points), 49, 2))
    assert regression_error(still, faces)[0] == pytest.approx(0.098, abs=0.002)


def test_damaged_annotations_are_named(tmp_path):
    with pytest.raises(LafsError, match=r"holds 0 \.pts files; expected at least 10"):
        read_annotated_faces(tmp_path)
    for number in range(10):
        (tmp_path / f"{number}.pts").write_text("version: 1\nn_points: 68\n{\n1 2\n}\n")
    with pytest.raises(LafsError, match=r"0\.pts: expected 68 lines of x and y.*\(1, 2\)"):
        read_annotated_faces(tmp_path)
    (tmp_path / "0.pts").write_text("{\n" + "10 20\n" * 67 + "ten 20\n}\n")
    with pytest.raises(LafsError, match=r"0\.pts: expected 68 lines of x and y"):
        read_annotated_faces(tmp_path)
    (tmp_path / "0.pts").write_text("{\n" + "".join(f"{x} {x % 7}\n" for x in range(68)) + "}\n")
    with pytest.raises(LafsError, match=r"no image lies beside .*0\.pts"):
        read_annotated_faces(tmp_path)


def test_a_network_that_follows_faces_is_told_from_one_that_stands_still():
    """On drawn faces, whose points the drawing knows; half of each is one mode of shape."""
    drawn = [draw_face(0, identity, 0) for identity in range(30)]
    images, points = np.stack([face.image for face in drawn]), np.stack([face.points for face in drawn])
    faces = faces_with_points(images, points)
    lookup = {
        image.tobytes(): own
        for moved in (faces, jittered(faces, 4))
        for image, own in zip(*moved[:2], strict=True)
    }

    def follow(shown):
        return np.stack([lookup[image.tobytes()] for image in shown])

    following = judge_landmarks(follow, faces, 4)
    still = judge_landmarks(lambda shown: np.zeros((len(shown), 9, 2)), faces, 4)
    for kind in ("", "jittered_"):
        assert following[f"{kind}points_error"] < 0.7 * following[f"{kind}mean_shape_error"]
        assert still[f"{kind}points_error"] == pytest.approx(still[f"{kind}mean_shape_error"])
    points[3:] = np.nan
    assert faces_with_points(images, points) is None
