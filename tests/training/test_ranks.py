"""A training that goes from one process to two and back sees and learns what it would have in one."""

from dataclasses import replace
from pathlib import Path

import pytest

from lafs_pipeline.runtime.launch import LaunchSettings, launch
from lafs_pipeline.training import checkpoints
from tests.training.rank_workers import Steps, take_steps
from tests.training.small_trainings import TRAINING, SmallTraining, draw_faces, losses

BEFORE, TOGETHER, TOTAL = 3, 3, 8
CHANGES = {
    "landmarks": {"augmentation": {"mixup_probability": 1.0}},
    "pretrain": {"training": {"accumulation": 2}},
    "adapt": {},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every stage without a break in one process, and with eight breaks in one process, two, and one again."""
    folder = tmp_path_factory.mktemp("ranks")
    plain = SmallTraining("", draw_faces(folder), {}, random_layers=False)
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


@pytest.mark.parametrize("stage", CHANGES)
def test_every_step_sees_the_same_images(folder, stage):
    batch = TRAINING.batch_size
    expected = keys(folder / "unbroken" / stage / "seen-0", batch)
    assert len(expected) == TOTAL
    first = (folder / "broken" / stage / "seen-0").read_text().split()
    shared = first[BEFORE * batch :][: TOGETHER * batch // 2]
    alone = [*first[: BEFORE * batch], *first[BEFORE * batch + len(shared) :]]
    alone = [alone[start : start + batch] for start in range(0, len(alone), batch)]
    assert [*alone[:BEFORE], *alone[BEFORE:]] == expected[:BEFORE] + expected[BEFORE + TOGETHER :]
    second = keys(folder / "broken" / stage / "seen-1", batch // 2)
    assert len(second) == TOGETHER
    for step in range(TOGETHER):
        own = shared[step * batch // 2 : (step + 1) * batch // 2]
        assert sorted(own + second[step]) == sorted(expected[BEFORE + step])


@pytest.mark.parametrize("stage", CHANGES)
def test_the_loss_curve_is_the_same(folder, stage):
    expected, found = losses(folder / "unbroken" / stage), losses(folder / "broken" / stage)
    assert list(expected) == list(found) == list(range(1, TOTAL + 1))
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-4
    assert max(expected.values()) - min(expected.values()) > 0.01
