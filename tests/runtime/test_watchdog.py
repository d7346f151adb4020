"""Hangs are found, the rank at fault is named, and the group ends."""

import re
import sys

import launch_workers as workers
import pytest

from lafs_pipeline.runtime import watchdog
from lafs_pipeline.runtime.launch import WorkerFailed, launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings

SETTINGS = LaunchSettings(processes=2, timeout_seconds=3)


def test_without_a_group_progress_goes_nowhere():
    watchdog.progress(3, "forward")


def test_a_rank_stuck_in_python_is_named_and_all_show_their_stacks(capfd):
    with pytest.raises(WorkerFailed) as caught:
        launch(workers.fail, "hung", SETTINGS)
    message = str(caught.value)
    assert re.match(
        r"rank 1 on \S+ \(process \d+\) made no progress at step 17 \(loading batch\) for 3 s; ", message
    )
    assert "rank 0 at step 17 (forward, waiting for others)" in message
    errors = capfd.readouterr().err
    for rank in (0, 1):
        assert f"rank {rank} is ended by the watchdog: {message}" in errors
    assert re.search(r'launch_workers.py", line \d+ in fail', errors)


@pytest.mark.slow
def test_a_frozen_process_is_named_and_killed():
    with pytest.raises(WorkerFailed) as caught:
        launch(workers.fail, "frozen", SETTINGS)
    assert re.fullmatch(
        r"rank 1 on \S+ \(process \d+\) stopped answering at step 17 \(loading batch\) \d+ s ago",
        str(caught.value),
    )


@pytest.mark.slow
def test_rank_0_itself_is_found_even_with_the_interpreter_locked():
    with pytest.raises(WorkerFailed, match=r"rank 0 on \S+ \(process \d+\) stopped answering at step"):
        launch(workers.rank_0_hangs, None, SETTINGS)


@pytest.mark.slow
def test_long_work_of_one_rank_that_tells_its_progress_is_no_hang():
    assert launch(workers.work_alone, 10, SETTINGS) == "done"


@pytest.mark.slow
def test_a_hang_ends_a_group_of_torchrun(start):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    program = start("fail", "hung", {"timeout_seconds": 3}, program=torchrun)
    _, errors = program.process.communicate(timeout=120)
    assert program.process.returncode != 0
    assert re.search(
        r"ended by the watchdog: rank 1 on .* made no progress at step 17 \(loading batch\)", errors
    )
