import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import JsonLinesLogger, read_metrics


def timeless(path):
    return [{key: value for key, value in line.items() if key != "time_ms"} for line in read_metrics(path)]


def fill(path, steps, resume_step=None):
    logger = JsonLinesLogger(path, resume_step)
    for step in steps:
        logger.log({"loss": 1 / step}, step, 32 * step)
    logger.close()


def test_one_object_a_call(tmp_path):
    path = tmp_path / "runs" / "metrics.jsonl"
    logger = JsonLinesLogger(path)
    before = int(time.time() * 1000)
    logger.log({"loss": 0.1 + 0.2, "gradient_norm": math.inf}, 10, 640)
    logger.log({"probe": math.nan}, 20, 1280)
    logger.close()
    assert all(before <= line["time_ms"] <= time.time() * 1000 for line in read_metrics(path))
    first, second = timeless(path)
    assert first == {"step": 10, "images_seen": 640, "loss": 0.1 + 0.2, "gradient_norm": math.inf}
    assert (second["step"], second["images_seen"]) == (20, 1280)
    assert math.isnan(second["probe"])


def test_a_new_training_starts_a_new_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    fill(path, [1, 2])
    fill(path, [1])
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1]


@given(cut=st.integers(0, 400), checkpoint=st.integers(0, 10))
def test_a_resumed_file_reads_as_if_unbroken(tmp_path_factory, cut, checkpoint):
    folder = tmp_path_factory.mktemp("metrics")
    unbroken, broken = folder / "unbroken.jsonl", folder / "broken.jsonl"
    fill(unbroken, range(1, 11))
    whole = unbroken.read_bytes()
    written = whole[: max(cut, sum(len(line) + 1 for line in whole.splitlines()[:checkpoint]))]
    broken.write_bytes(written)
    fill(broken, range(checkpoint + 1, 11), resume_step=checkpoint)
    assert timeless(broken) == timeless(unbroken)


def test_lines_that_are_no_metrics_are_dropped_on_resume(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\x80\x00\n[]\n{"loss": 1}\n{"step": 2}\n{"step": "x"}\n\n')
    fill(path, [3], resume_step=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_resuming_without_a_file(tmp_path):
    fill(tmp_path / "metrics.jsonl", [6], resume_step=5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["step"] == 6


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LafsError, match=r"file/metrics\.jsonl.*Make room"):
        JsonLinesLogger(tmp_path / "file" / "metrics.jsonl")
    logger = JsonLinesLogger(tmp_path / "folder" / "metrics.jsonl")
    (tmp_path / "folder").rename(tmp_path / "gone")
    with pytest.raises(LafsError, match=r"folder/metrics\.jsonl"):
        logger.log({"loss": 1.0}, 1, 32)
