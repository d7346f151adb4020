"""A copy of the project, and commands typed there."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.end_to_end.documents import PROJECT


def copy_project(home: Path) -> None:
    """The files that git knows or would know, and the environment that runs the tests as `.venv`."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=PROJECT, capture_output=True, check=True).stdout.split(b"\0"):
        source, target = PROJECT / name.decode(), home / name.decode()
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (home / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".ready":
            (home / ".venv" / entry.name).symlink_to(entry)
    (home / ".venv/.ready").touch()  # later than pyproject.toml: `make` finds the environment set up


class Command:
    """A shell command that runs in a copy of the project, in Kedro's environment `smoke` if it names none."""

    def __init__(self, text: str, home: Path, said: Path, environment: dict[str, str]) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LAFS_", "MLFLOW_"))
        }
        variables = {
            "PYTHONPATH": str(home / "src"),  # the editable installation of the copy
            "KEDRO_ENV": "smoke",
            "OMP_NUM_THREADS": "1",
            "BROWSER": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONUNBUFFERED": "1",
        }
        self._said = said
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", text],
                cwd=home,
                env=kept | variables | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has written to the terminal."""
        return self._said.read_text()

    def succeed(self) -> str:
        """Wait for its end without an error; returns what it said."""
        assert self._process.wait(600) == 0, self.said[-3000:]
        return self.said

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it with all that it started."""
        if not self.runs():
            return
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, number)
                self._process.wait(patience)
