"""What a person sees of a run and what only the file has, from any folder."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.framework.project import LOGGING
from tqdm import tqdm

from lafs_pipeline.hooks.logs import TerminalHandler, set_up_logs

PROJECT = Path(__file__).parents[2]
SAY = """
import logging, os
import kedro.framework.project
import lafs_pipeline.settings
logging.getLogger("lafs_pipeline.a").info("said by ours")
logging.getLogger("kedro.runner.runner").info("said by kedro")
logging.getLogger("kedro_viz.integrations.kedro.run_hooks").warning("said by kedro-viz")
logging.getLogger("kedro.runner.runner").warning("warned by kedro")
"""


@pytest.fixture
def project(tmp_path):
    """A project with its configuration alone."""
    home = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", home / "conf")
    shutil.copy(PROJECT / "pyproject.toml", home)
    (home / "deep/below").mkdir(parents=True)
    return home


@pytest.mark.parametrize("folder", [".", "deep/below"])
def test_the_file_lies_in_the_project_and_the_terminal_is_spared_kedros_lines(project, folder):
    variables = {name: value for name, value in os.environ.items() if name != "KEDRO_LOGGING_CONFIG"}
    finished = subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=project / folder,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    written = (project / "lafs_pipeline.log").read_text()
    for text in ("said by ours", "said by kedro", "said by kedro-viz", "warned by kedro"):
        assert text in written
    assert "said by ours" in finished.stdout
    assert "warned by kedro" in finished.stdout
    assert "logging configuration" not in finished.stdout
    assert "said by kedro" not in finished.stdout  # nor by kedro-viz
    assert [path.name for path in (project / "deep").rglob("*.log")] == []


@pytest.fixture
def read_only(project, tmp_path):
    """The project on a file system that cannot be written."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode

    if shutil.which("mount") is None or mount("--bind", project):
        pytest.skip("mounting a file system is not permitted here")
    mount("-o", "remount,ro,bind")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_project_says_the_same_without_tracebacks(read_only):
    variables = {name: value for name, value in os.environ.items() if name != "KEDRO_LOGGING_CONFIG"}
    finished = subprocess.run(
        [sys.executable, "-c", SAY],
        **{"cwd": read_only, "env": variables, "capture_output": True, "text": True, "check": True},
    )
    assert "said by ours" in finished.stdout
    assert finished.stderr == ""


def test_a_project_that_cannot_be_written_is_logged_to_the_terminal_alone(project, monkeypatch):
    before = dict(LOGGING)
    monkeypatch.delenv("KEDRO_LOGGING_CONFIG", raising=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    try:
        set_up_logs(project)
        handlers = logging.getLogger().handlers
        assert [type(handler).__name__ for handler in handlers] == ["RichHandler"]
    finally:
        LOGGING.configure(before)
    assert not (project / "lafs_pipeline.log").exists()


def test_a_line_stands_apart_from_a_bar(capsys):
    handler = TerminalHandler(level=logging.INFO)
    handler.console.file = sys.stderr
    with tqdm(total=4, desc="loading", mininterval=0, file=sys.stderr, ascii=True) as bar:
        bar.update(2)
        handler.handle(
            logging.LogRecord("lafs_pipeline", logging.WARNING, "a.py", 1, "a warning", None, None)
        )
        bar.update(1)
    said = capsys.readouterr().err
    (line,) = [line for line in said.replace("\r", "\n").split("\n") if "a warning" in line]
    assert "loading" not in line
    assert "3/4" in said
