"""How threads wait, as OpenMP itself tells when torch is imported."""

import os
import subprocess
import sys

import pytest

STARTS = {
    "kedro": "from kedro.framework.project import configure_project, settings\n"
    "configure_project('lafs_pipeline'); settings.HOOKS",
    "lafs": "from lafs_pipeline.commands.__main__ import main\nmain(['checkpoints', 'nowhere'])",
}


def policy(start, **given):
    """OpenMP's policy and spin count in a program that begins with `start`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    finished = subprocess.run(
        [sys.executable, "-c", f"{start}\nimport torch"],
        env=kept | given | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split("=") for line in finished.stderr.splitlines() if "=" in line)
    found = {name.split("]")[-1].strip(): value.strip(" '") for name, value in lines}
    return found["OMP_WAIT_POLICY"], found["GOMP_SPINCOUNT"]


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_threads_of_a_program_wait_passively(start):
    assert policy(start) == ("PASSIVE", "0")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", "30000000000")),
        ({"GOMP_SPINCOUNT": "77"}, ("PASSIVE", "77")),
    ],
    ids=lambda case: next(iter(case), None),
)
def test_what_a_user_has_set_stays(given, found):
    assert policy(STARTS["lafs"], **given) == found
