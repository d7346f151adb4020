"""Landmark quality against networks whose quality is known."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from tests.models.trained import as_trained
from tests.training.small_trainings import draw_faces

from lafs_pipeline.evaluation.landmarks.quality import (
    ChangedFaces,
    LandmarkQualitySettings,
    compare_landmarks,
    landmark_quality,
)
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.views.landmarks import restore_landmarks

FACES, COUNT = 8, 30


@pytest.fixture
def own() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 111, (FACES, COUNT, 2))


@pytest.fixture
def crops() -> np.ndarray:
    rng = np.random.default_rng(1)
    sides = rng.integers(60, 113, (FACES, 2))
    return np.concatenate([rng.integers(0, 113 - sides), sides], axis=1)


def seen_in(crops: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where points of the image lie in the crops, written out."""
    return (points - crops[:, None, :2]) * 112 / crops[:, None, 2:]


def measure(own, crops, flip=None, noise=None, appearance=None, crop=None) -> dict[str, float]:
    """Quality of landmarks that follow every change but those that are given."""
    mirrored = np.stack([112 - own[..., 0], own[..., 1]], axis=-1)
    right = (mirrored, own, own, seen_in(crops, own))
    given = (flip, noise, appearance, crop)
    changed = [ideal if other is None else other for ideal, other in zip(right, given, strict=True)]
    return landmark_quality(torch.tensor(np.stack([own, *changed], axis=1)), torch.tensor(crops))


def test_landmarks_that_follow_everything(own, crops):
    values = measure(own, crops)
    for change in ("flip", "noise", "appearance", "crop"):
        assert values[f"{change}_px"] == pytest.approx(0, abs=1e-9)
        if change != "crop":  # of which the landmarks beyond its border are left without a partner
            assert values[f"{change}_nearest_px"] == pytest.approx(0, abs=1e-9)
    assert values["crop_if_still_px"] > 5


def test_a_shift_is_its_length(own, crops):
    values = measure(own, crops, noise=own + np.array([3, 4]), appearance=own - np.array([0, 2]))
    assert values["noise_px"] == pytest.approx(5)
    assert values["appearance_px"] == pytest.approx(2)
    assert values["flip_px"] == pytest.approx(0, abs=1e-9)


def test_other_numbers_in_the_mirror_are_seen_by_the_numbered_distance_alone(own, crops):
    shuffled = np.stack([112 - own[..., 0], own[..., 1]], axis=-1)[:, ::-1]
    values = measure(own, crops, flip=shuffled)
    assert values["flip_nearest_px"] == pytest.approx(0, abs=1e-9)
    assert values["flip_px"] == pytest.approx(np.linalg.norm(own - own[:, ::-1], axis=2).mean())


def test_landmarks_that_stand_still_in_a_crop(own, crops):
    """Only landmarks that the crop shows count; the nearest ones are found by a tree."""
    values = measure(own, crops, crop=own)
    apart, there, back = [], [], []
    for points, (x, y, width, height) in zip(own, crops, strict=True):
        found = points * (width / 112, height / 112) + (x, y)
        visible = (points >= (x, y)).all(axis=1) & (points <= (x + width, y + height)).all(axis=1)
        apart += np.linalg.norm(found - points, axis=1)[visible].tolist()
        there += cKDTree(points).query(found)[0].tolist()
        back += cKDTree(found).query(points[visible])[0].tolist()
    assert values["crop_px"] == values["crop_if_still_px"] == pytest.approx(np.mean(apart))
    nearest = (np.mean(there) + np.mean(back)) / 2
    assert values["crop_nearest_px"] == values["crop_if_still_nearest_px"] == pytest.approx(nearest)


def test_spread_over_the_image(own, crops):
    values = measure(own, crops)
    hit = [(np.histogram2d(*face.T, bins=7, range=[[0, 112], [0, 112]])[0] > 0).mean() for face in own]
    assert values["covered"] == pytest.approx(np.mean(hit))
    neighbors = [cKDTree(face).query(face, k=2)[0][:, 1].mean() for face in own]
    assert values["neighbor_px"] == pytest.approx(np.mean(neighbors))
    deviations = np.sqrt(own.var(axis=0, ddof=1).sum(axis=1))
    assert values["spread_over_faces_px"] == pytest.approx(deviations.mean())


def test_a_grid_covers_everything_and_does_not_move(crops):
    grid = np.stack(np.meshgrid(np.arange(8, 112, 16.0), np.arange(8, 112, 16.0)), axis=-1).reshape(1, -1, 2)
    values = measure(grid.repeat(FACES, axis=0), crops)
    assert (values["covered"], values["neighbor_px"], values["spread_over_faces_px"]) == (1, 16, 0)


class Blobs:
    """Images with one bright spot a channel, near the middle."""

    def __getitem__(self, index: int) -> np.ndarray:
        rows, columns = np.mgrid[:112, :112] + 0.5
        centers = np.random.default_rng(index).uniform(52, 58, (3, 2))
        spots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)) for x, y in centers]
        return (255 * np.stack(spots, axis=-1)).round().astype(np.uint8)

    def __len__(self) -> int:
        return 60


def centroids(image: np.ndarray) -> np.ndarray:
    """(3, 2) x, y of the brightness of every channel; the center of the first pixel is 0.5."""
    weights = image / image.sum(axis=(0, 1), dtype=float)
    rows, columns = np.mgrid[:112, :112, :1][:2] + 0.5
    return np.stack([(weights * columns).sum(axis=(0, 1)), (weights * rows).sum(axis=(0, 1))], axis=1)


def test_what_the_pictures_show_lies_where_the_geometry_says():
    changed = ChangedFaces(Blobs(), 2.0, 7)
    boxes, checked = changed.crops(), 0
    whole = torch.tensor([[0, 0, 112, 112]])
    for index, box in enumerate(boxes):
        own, mirrored, _, _, cropped = changed[index]
        places = centroids(own)
        back = restore_landmarks(torch.tensor(centroids(mirrored))[None], whole, torch.tensor([True]), 112)
        np.testing.assert_allclose(back[0], places, atol=1e-9)
        x, y, width, height = box.tolist()
        assert 0.39 * 112**2 < width * height <= 112**2
        if max(x, y) < 44 and min(x + width, y + height) > 66:
            back = restore_landmarks(
                torch.tensor(centroids(cropped))[None], box[None], torch.tensor([False]), 112
            )
            np.testing.assert_allclose(back[0], places, atol=0.06)
            checked += 1
    assert checked > 20


def test_noise_and_appearance_are_changes_of_color_alone():
    changed = ChangedFaces(Blobs(), 4.0, 7)
    own, _, noisy, other, _ = (picture.astype(float) for picture in changed[0])
    unclipped = (own > 20) & (own < 235)
    assert (noisy - own)[unclipped].std() == pytest.approx(4.0, rel=0.15)
    assert np.abs(other - own)[unclipped].mean() > 2
    brightest = np.unravel_index(other.sum(axis=2).argmax(), (112, 112))
    assert own.sum(axis=2)[brightest] > 0.4 * own.sum(axis=2).max()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("quality"))


def test_a_network_that_ignores_the_image_stands_still(manifest):
    network = LandmarkNetwork(num_landmarks=16, width=0.25)
    torch.nn.init.zeros_(network.regressor.weight)
    options = LandmarkQualitySettings(faces=20)
    table, images, landmarks = compare_landmarks({"before": network, "after": network}, manifest, options, 0)
    first, second = table.drop(columns="training").to_numpy()
    np.testing.assert_array_equal(first, second)
    row = table.iloc[0]
    assert (row["landmarks"], row["faces"]) == (16, 20)
    for name in ("noise_px", "noise_nearest_px", "appearance_px", "spread_over_faces_px"):
        assert row[name] == pytest.approx(0, abs=1e-3)
    assert row["crop_px"] == pytest.approx(row["crop_if_still_px"], abs=1e-3)
    assert row["points_error"] == pytest.approx(row["mean_shape_error"])
    assert row["jittered_points_error"] == pytest.approx(row["jittered_mean_shape_error"])
    assert images.shape == (12, 112, 112, 3)
    assert [title[:15].split(",")[0] for title in landmarks] == ["before training", "after training"]
    for points in landmarks.values():
        np.testing.assert_array_equal(points, np.broadcast_to(points[:1], (12, 16, 2)))


def test_a_network_that_looks_is_moved_by_what_changes(manifest):
    torch.manual_seed(1)
    network = as_trained(LandmarkNetwork(num_landmarks=16, width=0.25)).train()
    images = torch.stack([torch.from_numpy(FaceImages(manifest)[i]).permute(2, 0, 1) for i in range(32)])
    for _ in range(30):
        network(images / 127.5 - 1)
    quiet, loud = (
        compare_landmarks({"after": network}, manifest, LandmarkQualitySettings(faces=16, noise=noise), 0)[0]
        for noise in (1.0, 30.0)
    )
    assert 0 < quiet["noise_px"][0] < loud["noise_px"][0]
    assert quiet["spread_over_faces_px"][0] > 0
    assert quiet["crop_px"][0] != quiet["crop_if_still_px"][0]
    changed = quiet.columns[(quiet != loud).to_numpy()[0]]
    assert set(changed) == {"noise_px", "noise_nearest_px"}
