from dataclasses import replace

import numpy as np
import pytest
import torch

from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.training.view_landmarks import augment_landmarks
from lafs_pipeline.views.parameters import ViewSettings

BATCH, COUNT = 6, 20
OPTIONS = ViewSettings(local_views=3, local_landmarks=None)
VIEWS = OPTIONS.global_views + OPTIONS.local_views


@pytest.fixture
def landmarks() -> torch.Tensor:
    return 112 * torch.rand(VIEWS * BATCH, COUNT, 2)


def whole_batch() -> MicroBatch:
    return MicroBatch(Progress(0, 1, 1), 5, np.arange(BATCH), BATCH)


def all_points(landmarks: torch.Tensor, part: MicroBatch) -> torch.Tensor:
    return torch.cat([chosen.points for chosen in augment_landmarks(landmarks, OPTIONS, part)])


def test_without_subsets_and_noise_every_view_keeps_all_landmarks_in_order(landmarks):
    whole, local = augment_landmarks(landmarks, replace(OPTIONS, landmark_sigma=0.0), whole_batch())
    assert torch.equal(torch.cat((whole.points, local.points)), landmarks)
    assert whole.indices is None
    assert local.indices is None


def test_leaving_out_subsets_changes_no_noise(landmarks):
    whole, local = augment_landmarks(landmarks, OPTIONS, whole_batch())
    drawn_whole, drawn = augment_landmarks(landmarks, replace(OPTIONS, local_landmarks=4), whole_batch())
    assert torch.equal(whole.points, drawn_whole.points)
    assert drawn.points.shape == (OPTIONS.local_views * BATCH, 4, 2)
    rows = torch.arange(len(drawn.points))[:, None]
    assert torch.equal(drawn.points, local.points[rows, drawn.indices])
    noise = torch.cat((whole.points, local.points)) - landmarks
    assert noise.std() == pytest.approx(OPTIONS.landmark_sigma, rel=0.05)


def test_without_subsets_a_process_takes_its_own_rows(landmarks):
    rows = np.array([1, 4])
    part = replace(whole_batch(), rows=rows)
    own = landmarks.unflatten(0, (VIEWS, BATCH))[:, rows].flatten(0, 1)
    whole = all_points(landmarks, whole_batch()).unflatten(0, (VIEWS, BATCH))
    assert torch.equal(all_points(own, part), whole[:, rows].flatten(0, 1))


def test_shuffled_global_views_know_their_landmarks(landmarks):
    whole, _ = augment_landmarks(landmarks, OPTIONS, whole_batch())
    shuffled, _ = augment_landmarks(landmarks, replace(OPTIONS, shuffle_global=True), whole_batch())
    rows = torch.arange(len(shuffled.points))[:, None]
    assert torch.equal(shuffled.points, whole.points[rows, shuffled.indices])
    assert torch.equal(shuffled.indices.sort(dim=1).values, torch.arange(COUNT).expand(len(rows), -1))
