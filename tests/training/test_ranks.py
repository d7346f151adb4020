"""A training that goes from one process to two and back sees and learns what it would have in one."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.rank_workers import Steps, take_all, take_steps
from tests.training.small_trainings import TRAINING, SmallTraining, curve, difference, draw_faces

from lafs_pipeline.runtime.launch import LaunchSettings, launch
from lafs_pipeline.training import checkpoints
from lafs_pipeline.views.settings import AugmentationSettings

BEFORE, TOGETHER, TOTAL = 3, 3, 8
# AdamW gives directions without a gradient steps of their rounding's sign, and landmarks that start close
# together stretch them: at larger rates two runs in one process whose weights differ by 1e-7 come apart too.
GENTLE = {"learning_rate": 1e-5}
CHANGES = {
    "landmarks": {
        "training": GENTLE,
        "objective": {"scale": 4.0, "augmentation": AugmentationSettings(mixup_probability=1.0)},
    },
    "pretrain": {"training": {"accumulation": 2}},
    "adapt": {"training": GENTLE, "objective": {"scale": 4.0, "landmark_regularisation": 0.01}},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every stage in one process without a break, and with many, in one process, two, and one again."""
    folder = tmp_path_factory.mktemp("ranks")
    plain = SmallTraining("", draw_faces(folder), random_layers=False)
    trainings = {stage: replace(plain, stage=stage, **changes) for stage, changes in CHANGES.items()}
    unbroken, broken = (
        {folder / kind / stage: training for stage, training in trainings.items()}
        for kind in ("unbroken", "broken")
    )
    take_steps(Steps(unbroken, None))
    take_steps(Steps(broken, BEFORE))
    launch(take_steps, Steps(broken, TOGETHER), LaunchSettings(processes=2))
    assert {checkpoints.load_latest(path).step for path in broken} == {BEFORE + TOGETHER}
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
        assert found[step]["gradient_norm"] == pytest.approx(line["gradient_norm"], rel=1e-2)
    assert len({line["loss"] for line in expected.values()}) == TOTAL


@pytest.mark.parametrize("stage", ["landmarks", "pretrain"])
def test_three_processes_resume_bit_for_bit(tmp_path, stage):
    """With three, unlike with two, a sum of gradients depends on the order in which it is formed."""
    training = SmallTraining(stage, draw_faces(tmp_path), {"batch_size": 12, "epochs": 3})
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    plan = [Steps({unbroken: training}, None), Steps({broken: training}, 3), Steps({broken: training}, None)]
    launch(take_all, plan, LaunchSettings(processes=3))
    assert difference(unbroken, broken) is None
