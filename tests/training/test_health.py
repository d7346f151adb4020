"""What an ill training looks like, and when it is too early to tell."""

import math

import pytest

from lafs_pipeline.training.monitoring.health import FRESH_STEPS, entropy_warning, spread_warning


@pytest.mark.parametrize(
    ("spread", "steps", "is_told"),
    [(0.01, 1, False), (0.01, FRESH_STEPS, True), (0.5, FRESH_STEPS, False)],
)
def test_embeddings_that_become_one_are_told_once_steps_have_been_made(spread, steps, is_told):
    said = spread_warning({"embedding_std": spread}, steps)
    assert (said is not None and "becoming one" in said) is is_told
    assert spread_warning({}, steps) is None


@pytest.mark.parametrize(
    ("share", "steps", "fraction", "said"),
    [
        (0.01, FRESH_STEPS, 0.5, "gives every image one prototype"),
        (0.01, FRESH_STEPS - 1, 0.5, None),
        (1.0, FRESH_STEPS, 0.5, "nearly uniform"),
        (1.0, FRESH_STEPS, 0.1, None),
        (0.5, FRESH_STEPS, 0.5, None),
    ],
)
def test_a_teacher_that_is_about_to_collapse(share, steps, fraction, said):
    found = entropy_warning({"teacher_entropy": share * math.log(64)}, 64, steps, fraction)
    assert found is None if said is None else said in found
    assert entropy_warning({}, 64, steps, fraction) is None
