import math

import numpy as np
import pytest

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.schedules import cosine_schedule, linear_schedule


def test_reference_schedules_are_met(parity_dir):
    data = np.load(parity_dir / "schedules.npz")
    rate = cosine_schedule(5e-4 * 164 / 256, 1e-6, 41 * 50, warmup_steps=10 * 50)
    np.testing.assert_allclose(rate, data["lr"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cosine_schedule(0.04, 0.4, 41 * 50), data["wd"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cosine_schedule(0.996, 1, 41 * 50), data["momentum"], rtol=0, atol=1e-12)


def test_reference_teacher_temperature_is_met(parity_dir):
    data = np.load(parity_dir / "dino_loss.npz")
    schedule = linear_schedule(
        float(data["warmup_teacher_temp"]),
        float(data["final_teacher_temp"]),
        int(data["epochs"]),
        int(data["warmup_epochs"]),
    )
    np.testing.assert_allclose(schedule, data["teacher_temp"], rtol=0, atol=1e-12)


def test_cosine_follows_its_formula_after_a_straight_warm_up():
    schedule = cosine_schedule(1.0, 0.2, total_steps=14, warmup_steps=4, start=0.4)
    assert schedule[:4] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert schedule[4:] == pytest.approx([0.6 + 0.4 * math.cos(math.pi * step / 10) for step in range(10)])


def test_a_warm_up_may_fill_the_training():
    assert cosine_schedule(2.0, 0.0, 3, warmup_steps=3) == pytest.approx([0.0, 1.0, 2.0])
    assert linear_schedule(0.04, 0.07, 4, 4) == pytest.approx([0.04, 0.05, 0.06, 0.07])


@pytest.mark.parametrize(("start", "final"), [(0.07, 0.04), (0.04, 0.07)])
def test_linear_schedule_goes_either_way_and_stays(start, final):
    schedule = linear_schedule(start, final, total_steps=10, warmup_steps=4)
    assert schedule[0] == start
    assert np.diff(schedule[:4]) == pytest.approx([(final - start) / 3] * 3)
    assert set(schedule[3:]) == {final}
    assert linear_schedule(start, final, 5, 0) == pytest.approx([final] * 5)


@pytest.mark.parametrize(
    ("total", "warmup", "words"),
    [
        (0, 0, "at least one step"),
        (-3, 0, "at least one step"),
        (5, 6, "shorten the warm-up"),
        (5, -1, "does not fit"),
    ],
)
def test_steps_that_do_not_fit_are_refused(total, warmup, words):
    with pytest.raises(LafsError, match=words):
        cosine_schedule(1.0, 0.0, total, warmup)
    with pytest.raises(LafsError, match=words):
        linear_schedule(1.0, 0.0, total, warmup)
