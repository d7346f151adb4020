from dataclasses import replace

import numpy as np
import pytest
import torch

from lafs_pipeline.training.stage import Part, Progress
from lafs_pipeline.training.view_landmarks import augment_landmarks
from lafs_pipeline.views.parameters import ViewSettings

BATCH, COUNT = 6, 20
OPTIONS = ViewSettings(local_views=3, local_landmarks=None)
VIEWS = OPTIONS.global_views + OPTIONS.local_views


@pytest.fixture
def landmarks() -> torch.Tensor:
    return 112 * torch.rand(VIEWS * BATCH, COUNT, 2)


def whole_batch() -> Part:
    return Part(Progress(0, 1, 1), 5, np.arange(BATCH), BATCH)


def test_without_subsets_and_noise_every_view_keeps_all_landmarks_in_order(landmarks):
    whole, local = augment_landmarks(landmarks, replace(OPTIONS, landmark_sigma=0.0), whole_batch())
    assert torch.equal(torch.cat((whole, local)), landmarks)


def test_leaving_out_subsets_changes_no_noise(landmarks):
    whole, local = augment_landmarks(landmarks, OPTIONS, whole_batch())
    drawn_whole, drawn = augment_landmarks(landmarks, replace(OPTIONS, local_landmarks=4), whole_batch())
    assert torch.equal(whole, drawn_whole)
    assert drawn.shape == (OPTIONS.local_views * BATCH, 4, 2)
    assert (drawn[:, :, None] == local[:, None]).all(dim=-1).any(dim=-1).all()
    noise = torch.cat((whole, local)) - landmarks
    assert noise.std() == pytest.approx(OPTIONS.landmark_sigma, rel=0.05)


def test_without_subsets_a_process_takes_its_own_rows(landmarks):
    rows = np.array([1, 4])
    part = replace(whole_batch(), rows=rows)
    own = landmarks.unflatten(0, (VIEWS, BATCH))[:, rows].flatten(0, 1)
    whole = torch.cat(augment_landmarks(landmarks, OPTIONS, whole_batch())).unflatten(0, (VIEWS, BATCH))
    assert torch.equal(torch.cat(augment_landmarks(own, OPTIONS, part)), whole[:, rows].flatten(0, 1))
