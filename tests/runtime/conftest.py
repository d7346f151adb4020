"""Programs that launch, as processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # spawned workers find launch_workers.py by the sys.path of this process


class Program:
    """A started `launch_workers.py`."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def outcome(self) -> dict:
        """Its last line of output, once it has ended."""
        out, _ = self.process.communicate(timeout=120)
        return json.loads(out.strip().splitlines()[-1])


@pytest.fixture
def start(tmp_path_factory):
    """Starts `launch_workers.py <worker> <config> <settings>`; what still runs at the end is killed."""
    programs, folder = [], str(tmp_path_factory.mktemp("programs"))

    def begin(worker, config=None, settings=None, environment=None, before=(), program=(sys.executable,)):
        command = [*before, *program, str(HERE / "launch_workers.py"), worker, json.dumps(config)]
        process = subprocess.Popen(
            [*command, json.dumps(settings or {})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": folder} | (environment or {}),
        )
        programs.append(process)
        return Program(process)

    yield begin
    for process in programs:
        process.kill()
        process.communicate(timeout=60)  # for ever, if a process that it started still held its output
