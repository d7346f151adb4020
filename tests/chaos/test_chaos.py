"""A little of what `python -m tests.chaos` does at length."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["landmarks-1", "adapt-2"])
def test_a_training_killed_twice_ends_as_if_nothing_had_happened(tmp_path, configuration):
    command = ["-m", "tests.chaos", "--kills", "2", "--folder", tmp_path, "--only", configuration]
    finished = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["what"] for event in events].count("kill") == 2
    assert [event["difference"] for event in events if event["what"] == "round"] == [None]
