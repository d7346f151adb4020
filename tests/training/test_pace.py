"""What a training says about how long it has to go."""

import logging

import pytest

from lafs_pipeline.training.monitoring import pace


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5990, "100 min"), (7200, "2.0 h"), (360_000, "100.0 h")],
)
def test_times_have_the_unit_that_people_read(seconds, told):
    assert pace.readable_time(seconds) == told


def test_a_line_tells_what_is_left_and_the_next_waits(monkeypatch, caplog):
    monkeypatch.setattr(pace, "FIRST", 0.0)
    told = pace.Pace("pretrain", total=100, batch_size=32)
    with caplog.at_level(logging.INFO):
        told.tell(5, images_per_second=50.0)
        told.tell(6, images_per_second=50.0)
    # 95 steps of 32 images at 50 images a second take 60.8 seconds.
    assert caplog.messages == ["pretrain: step 5 of 100, 50 images/s, about 61 s to go"]
