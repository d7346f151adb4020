"""Landmarks from warps alone: what is learned, and that the loop treats the stage as any other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.small_trainings import SEED, TRAINING, draw_faces, losses

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork, mesh_landmarks
from lafs_pipeline.runtime.errors import LafsError, Stopped
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.landmark_warps import (
    LandmarkStage,
    WarpedFaces,
    WarpTrainingSettings,
    train_landmarks,
)
from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.warps import Warp

COUNT = 16


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=16, images=4)


def fresh(coordinates="free"):
    torch.manual_seed(0)
    return LandmarkNetwork(COUNT, 0.25, coordinates)


def samples(faces, seed=0, on_device=False):
    points = mesh_landmarks(COUNT).numpy()
    return WarpedFaces(FaceImages(faces), points, WarpTrainingSettings().warp, seed, on_device)


def collated(found):
    return {name: torch.from_numpy(np.stack([sample[name] for sample in found])) for name in found[0]}


def moved(batch, points):
    """Where points (B, N, 2) of the unwarped faces went, one face after the other."""
    warps = map(Warp, batch["inverse"].numpy(), batch["displacement"].numpy())
    return np.stack([warp.move(own, 112) for warp, own in zip(warps, points, strict=True)])


def smooth_l1(found, target):
    """Of the points whose target is inside, over all points."""
    inside = ((target >= 0) & (target <= 112)).all(axis=-1)
    off = np.abs(found - target) * inside[..., None]
    return np.where(off < 1, off**2 / 2, off - 0.5).sum(axis=-1).mean()


def loss_of(stage, batch, step=0):
    count = len(batch["image"])
    return next(stage.losses(batch, MicroBatch(Progress(step, 10, 1), 0, np.arange(count), count)))


def test_a_fresh_network_finds_the_mesh_of_faces_that_are_not_warped(faces):
    still = replace(WarpTrainingSettings().warp, rotation=0, log_scale=0, shift=0, displacement=0)
    found = WarpedFaces(FaceImages(faces), mesh_landmarks(COUNT).numpy(), still, 0, False)
    line = np.linspace(8, 104, 4)
    np.testing.assert_allclose(found[0, 0]["points"], [(x, y) for y in line for x in line], atol=1e-3)
    loss, metrics = loss_of(LandmarkStage(fresh(), WarpTrainingSettings()), collated([found[0, 0]] * 2))
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert metrics["distance_px"].item() == pytest.approx(0, abs=1e-3)


def test_draws_depend_on_seed_epoch_and_index_alone(faces):
    first, again = samples(faces)[3, 5], samples(faces)[3, 5]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    others = [samples(faces)[4, 5], samples(faces)[3, 6], samples(faces, seed=1)[3, 5]]
    assert not any(np.array_equal(first["inverse"], other["inverse"]) for other in others)


def test_the_device_renders_what_the_loader_renders(faces):
    draws = [(0, index) for index in range(6)]
    stage = LandmarkStage(fresh(), WarpTrainingSettings())
    here = stage._images(collated([samples(faces)[draw] for draw in draws]))
    there = stage._images(collated([samples(faces, on_device=True)[draw] for draw in draws]))
    difference = (here - there).abs() * 127.5
    assert difference.mean() < 2
    assert difference.quantile(0.99) < 12


def test_the_loss_is_smooth_l1_of_the_points_inside(faces):
    batch = collated([samples(faces)[0, index] for index in range(8)])
    batch["inverse"][0] = torch.tensor([[1.0, 0, -100], [0, 1, 0]])
    loss, metrics = loss_of(LandmarkStage(fresh().eval(), WarpTrainingSettings()), batch)
    mesh = mesh_landmarks(COUNT).numpy()
    target = moved(batch, batch["points"].numpy())
    inside = ((target >= 0) & (target <= 112)).all(axis=-1)
    assert not inside[0, -1]
    assert loss.item() == pytest.approx(smooth_l1(mesh, target), rel=1e-4)
    assert metrics["distance_px"].item() == pytest.approx(
        np.linalg.norm(mesh - target, axis=-1)[inside].mean(), rel=1e-4
    )


def test_later_the_mesh_is_nearly_the_one_that_the_average_finds_on_the_unwarped_face(faces):
    batch = collated([samples(faces)[0, index] for index in range(8)])
    stage = LandmarkStage(fresh(), WarpTrainingSettings(teacher_start=0.5))
    average = stage.modules["average"].module
    torch.nn.init.normal_(average.regressor.weight, std=10.0)
    for layer in average.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    average.train()(to_input(batch["image"]))
    flips = batch["flips"][:, 0].tolist()
    assert len(set(flips)) == 2
    images = batch["image"].numpy()
    seen = np.stack(
        [image[:, ::-1] if flipped else image for image, flipped in zip(images, flips, strict=True)]
    )
    with torch.no_grad():
        found = average.eval()(to_input(torch.from_numpy(seen))).numpy()
    mesh = mesh_landmarks(COUNT).numpy()
    assert np.abs(found - mesh).mean() > 1
    before, after = moved(batch, batch["points"].numpy()), moved(batch, 0.1 * mesh + 0.9 * found)
    stage.modules.train()
    assert loss_of(stage, batch, step=4)[0].item() == pytest.approx(smooth_l1(mesh, before), rel=1e-4)
    assert loss_of(stage, batch, step=5)[0].item() == pytest.approx(smooth_l1(mesh, after), rel=1e-3)


def test_joint_coordinates_are_refused():
    with pytest.raises(LafsError, match="joint coordinates"):
        LandmarkStage(fresh("joint"), WarpTrainingSettings())


def options(**changes):
    training = replace(TRAINING, epochs=1, batch_size=16, **changes)
    return WarpTrainingSettings(training=training)


def test_a_training_that_is_stopped_ends_as_one_that_is_not(faces, tmp_path):
    whole = train_landmarks(fresh(), faces, options(), RunContext(tmp_path / "whole", SEED))
    broken = RunContext(tmp_path / "broken", SEED)
    with pytest.raises(Stopped):
        train_landmarks(fresh(), faces, options(max_minutes=1e-9), broken)
    resumed = train_landmarks(fresh(), faces, options(), broken)
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
    assert whole.coordinates == "free"
    assert not torch.equal(whole.regressor.weight, fresh().regressor.weight)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(faces, tmp_path):
    """By the losses of the steps: AdamW turns a gradient near 0 into a whole step, whatever its sign."""
    train_landmarks(fresh(), faces, options(), RunContext(tmp_path / "one", SEED))
    pair = RunContext(tmp_path / "two", SEED, launch=LaunchSettings(processes=2))
    train_landmarks(fresh(), faces, options(), pair)
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(alone) == 4
    assert together == pytest.approx(alone, rel=1e-3)


@pytest.mark.slow
def test_landmarks_follow_warps_that_were_not_trained_on(faces, tmp_path):
    """A network that ignores the image would be as far off as the mean target, which is of the fixed mesh."""
    schedule = replace(
        TRAINING, epochs=150, batch_size=16, learning_rate=4e-3, reference_batch=16, checkpoint_every=300
    )
    long = WarpTrainingSettings(average=0.9, teacher_start=1.0, training=schedule)
    network = train_landmarks(fresh(), faces, long, RunContext(tmp_path, SEED))
    unseen = draw_faces(tmp_path / "unseen", identities=8, images=4)
    batch = collated([samples(unseen, seed=9)[0, index] for index in range(32)])
    target = torch.from_numpy(moved(batch, batch["points"].numpy()))
    with torch.inference_mode():
        found = network(to_input(batch["warped"]))
    still = (target - target.mean(dim=0)).norm(dim=-1).mean()
    assert (found - target).norm(dim=-1).mean() < 0.8 * still
