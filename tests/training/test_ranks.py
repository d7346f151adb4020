"""A training that goes from one process to two and back sees and learns what it would have in one."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.rank_workers import Steps, take_all, take_steps
from tests.training.small_trainings import (
    TRAINING,
    SmallTraining,
    curve,
    difference,
    draw_faces,
    training_folder,
)

from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.training import checkpoints
from lafs_pipeline.views.parameters import AugmentationSettings

BEFORE, TOGETHER, TOTAL = 3, 3, 8
# AdamW gives directions without a gradient steps of their rounding's sign, and landmarks that start close
# together stretch them: at larger rates two runs in one process whose weights differ by 1e-7 come apart too.
GENTLE = {"learning_rate": 1e-5}
CHANGES = {
    "landmarks": {
        "stage": "landmarks",
        "training": GENTLE,
        "objective": {"scale": 4.0, "augmentation": AugmentationSettings(mixup_probability=1.0)},
    },
    "pretrain": {"stage": "pretrain", "training": {"accumulation": 2}},
    "adapt": {
        "stage": "adapt",
        "training": GENTLE,
        "objective": {"scale": 4.0, "landmark_regularization": 0.01},
    },
    "sharded": {
        "stage": "landmarks",
        "training": GENTLE | {"clip_norm": 0.1, "accumulation": 2},
        "objective": {
            # BatchNorm would see other batches in one process than in two.
            "freeze_landmark_network": True,
            "scale": 4.0,
            "augmentation": AugmentationSettings(mixup_probability=0.5),
            "shard_classes": True,
        },
    },
    "adaface": {
        "stage": "landmarks",
        "training": GENTLE,
        "objective": {
            "scale": 4.0,
            "augmentation": AugmentationSettings(mixup_probability=0.0),
            "loss": "adaface",
            "freeze_blocks": 1,
            "freeze_landmark_network": True,
        },
    },
}
TOLERANCE = {"landmarks": 0.3, "adapt": 0.3}
"""Of gradient norms, else 1e-2: a landmark network's differ by so much where its weights do by 1e-7."""
WHOLE = {"shard_classes": False}
"""A dealt-out class matrix is compared with a whole one."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every stage in one process without a break, and with many, in one process, two, and one again."""
    folder = tmp_path_factory.mktemp("ranks")
    plain = SmallTraining("", draw_faces(folder), random_layers=False)
    trainings = {name: replace(plain, **changes) for name, changes in CHANGES.items()}
    broken = {folder / "broken" / name: training for name, training in trainings.items()}
    unbroken = {folder / "unbroken" / name: training for name, training in trainings.items()}
    dealt_out = trainings["sharded"]
    unbroken[folder / "unbroken/sharded"] = replace(dealt_out, objective={**dealt_out.objective, **WHOLE})
    take_steps(Steps(unbroken, None))
    take_steps(Steps(broken, BEFORE))
    launch(take_steps, Steps(broken, TOGETHER), LaunchSettings(processes=2))
    reached = {checkpoints.load_latest(training_folder(path)).step for path in broken}
    assert reached == {BEFORE + TOGETHER}
    take_steps(Steps(broken, None))
    return folder


def keys(path: Path, images: int) -> list[list[str]]:
    """The keys that one process has read, in runs of so many images."""
    found = path.read_text().split()
    return [found[start : start + images] for start in range(0, len(found), images)]


def by_step(folder: Path) -> dict[int, dict[str, float]]:
    """The metrics of every step."""
    return {line["step"]: line for line in curve(folder)}


@pytest.mark.parametrize("stage", CHANGES)
def test_every_step_sees_the_same_images(folder, stage):
    batch = TRAINING.batch_size
    expected = keys(folder / "unbroken" / stage / "seen-0", batch)
    assert len(expected) == TOTAL
    first = (folder / "broken" / stage / "seen-0").read_text().split()
    shared = first[BEFORE * batch :][: TOGETHER * batch // 2]
    alone = [*first[: BEFORE * batch], *first[BEFORE * batch + len(shared) :]]
    assert [alone[start : start + batch] for start in range(0, len(alone), batch)] == [
        *expected[:BEFORE],
        *expected[BEFORE + TOGETHER :],
    ]
    second = keys(folder / "broken" / stage / "seen-1", batch // 2)
    assert len(second) == TOGETHER
    for step in range(TOGETHER):
        own = shared[step * batch // 2 : (step + 1) * batch // 2]
        assert sorted(own + second[step]) == sorted(expected[BEFORE + step])


@pytest.mark.parametrize("stage", CHANGES)
def test_losses_and_gradients_are_the_same(folder, stage):
    expected, found = (by_step(folder / kind / stage) for kind in ("unbroken", "broken"))
    assert list(expected) == list(found) == list(range(1, TOTAL + 1))
    for step, line in expected.items():
        assert found[step]["loss"] == pytest.approx(line["loss"], abs=1e-4)
        near = pytest.approx(line["gradient_norm"], rel=TOLERANCE.get(stage, 1e-2))
        assert found[step]["gradient_norm"] == near
    assert len({line["loss"] for line in expected.values()}) == TOTAL


SAMPLED = {
    "class_sample_rate": 0.7,
    "loss": "arcface",
    "augmentation": AugmentationSettings(mixup_probability=0.0),
}


@pytest.mark.parametrize(("stage", "objective"), [("landmarks", {}), ("pretrain", {}), ("adapt", SAMPLED)])
def test_three_processes_resume_bit_for_bit(tmp_path, stage, objective):
    """With three, unlike with two, a sum of gradients depends on the order in which it is formed."""
    faces = draw_faces(tmp_path, identities=25, images=2)
    training = SmallTraining(stage, faces, {"batch_size": 12, "epochs": 3}, objective)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    plan = [Steps({unbroken: training}, None), Steps({broken: training}, 3), Steps({broken: training}, None)]
    launch(take_all, plan, LaunchSettings(processes=3))
    assert difference(unbroken, broken) is None
    weights = checkpoints.load_latest(training_folder(broken)).weights
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert shapes.get("classes.head.weight") == ((25, 16) if objective else None)
