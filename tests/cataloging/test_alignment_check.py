"""Points and images that are not what a user says of them are refused with the reason, or reported."""

import cv2
import numpy as np
import pytest

from lafs_pipeline.cataloging.alignment_check import SWAPPED, require_face_points
from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.points import read_points
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.synthetic.faces import draw_face

IN_250 = ARCFACE_TEMPLATE + np.array([70, 60])


def turned(degrees: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((125, 125), degrees, 0.9)
    return IN_250 @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(
    "points", [IN_250, turned(180), turned(-80), IN_250 * 0.4, ARCFACE_TEMPLATE - [40, 0]]
)
def test_faces_of_any_pose_place_and_size_pass(points):
    require_face_points(points.astype(np.float32), 250, 250)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (IN_250 / 250, "fractions of the image"),
        (IN_250[SWAPPED], "left and right .* exchanged"),
        (IN_250[:, ::-1], "x and y are exchanged"),
        (IN_250 + np.array([300, 0]), r"outside the image of 250 x 250 pixels: x from 408"),
        (IN_250 - [0, 200], r"outside the image .* y from -88"),
        (IN_250[[3, 4, 2, 0, 1]] * [1, 0.2] + [0, 100], "mirrored|not those of a face"),
        (IN_250 * 0.1, r"a face of 11 pixels; at least 16"),
    ],
)
def test_points_that_are_none_of_a_face_are_refused(points, reason):
    with pytest.raises(LafsError, match=reason):
        require_face_points(points.astype(np.float32), 250, 250)


@pytest.mark.parametrize("name", ["celeba_299/loose_landmarks5.csv", "lfw/lfw_landmark_mtcnn5.txt"])
def test_real_points_pass_and_exchanged_ones_do_not(shared_dir, name):
    side = 224 if "celeba" in name else 250
    for points in list(read_points(shared_dir / "faces" / name).values())[::20]:
        require_face_points(points, side, side)
        for wrong in (points[SWAPPED], points[:, ::-1].copy()):
            with pytest.raises(LafsError, match="exchanged"):
                require_face_points(wrong, side, side)


@pytest.fixture
def photographs(tmp_path):
    """Six drawn faces, each amid a photograph of 250 px, and a file of their points."""
    lines = ["file,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"]
    for person in range(2):
        for number in range(3):
            face = draw_face(0, person, number)
            scene = np.full((250, 250, 3), 90, np.uint8)
            scene[80:192, 60:172] = face.image[:, :, ::-1]
            path = tmp_path / f"photos/p{person}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), scene)
            points = (face.points + np.array([60, 80])).ravel()
            lines.append(f"p{person}/{number}.png," + ",".join(f"{value:.2f}" for value in points))
    (tmp_path / "points.csv").write_text("\n".join(lines))
    return tmp_path


def catalog(home, **options):
    source = SourceSettings(path=str(home / "photos"), **options)
    return catalog_faces(CatalogSettings(sources={"mine": source}, threads=1), 0, home / "stores")


def test_photographs_that_are_said_to_be_aligned(photographs, caplog):
    with pytest.raises(LafsError, match=r"'mine' says `aligned: true`, but the eyes in 6 .*250 x 250 pixels"):
        catalog(photographs, aligned=True, points=str(photographs / "points.csv"))
    assert len(catalog(photographs, points=str(photographs / "points.csv")).manifest) == 6
    assert "resized" not in caplog.text
    catalog(photographs, aligned=True)
    assert "6 of its images are 250 x 250 pixels (6): they are only resized" in caplog.text


@pytest.mark.parametrize("is_bgr", [False, True])
def test_colors_that_are_exchanged_are_a_hint(tmp_path, caplog, is_bgr):
    for number in range(10):
        face = draw_face(0, number // 2, number).image
        path = tmp_path / f"photos/p{number // 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), face if is_bgr else face[:, :, ::-1])
    catalog(tmp_path, aligned=True)
    assert ("set `channel_order: bgr`" in caplog.text) == is_bgr


def test_labels_that_number_the_images_are_a_hint(tmp_path, caplog):
    with RecordIOWriter(tmp_path / "photos.rec") as writer:
        for number in range(4):
            writer.write_image(number, encode_jpeg(draw_face(0, number, 0).image), float(number))
    source = SourceSettings(kind="recordio", path=str(tmp_path / "photos.rec"), aligned=True)
    catalog_faces(CatalogSettings(sources={"mine": source}, threads=1), 0, tmp_path / "stores")
    assert "'mine': each of the 4 images has an identity of its own" in caplog.text


def test_points_that_are_wrong_cost_their_images_with_the_reason(photographs):
    path = photographs / "points.csv"
    heading, first, *rest = path.read_text().split("\n")
    name, *values = first.split(",")
    exchanged = [*values[2:4], *values[:2], *values[4:6], *values[8:], *values[6:8]]
    path.write_text("\n".join([heading, ",".join([name, *exchanged]), *rest]))
    found = catalog(photographs, points=str(path))
    assert len(found.manifest) == 5
    assert found.rejected["key"].tolist() == ["mine/p0/0.png"]
    assert "left and right" in found.rejected["reason"][0]
