"""Cleaning removes what can be made again, and a user's results only after a yes."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.end_to_end.documents import PROJECT

CACHES = ("src/a/__pycache__", "tests/__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", "site")
OF_USERS = (
    *("data/06_models/backbones/lafs.safetensors", "data/06_models/checkpoints/pretrain_lafs/step-8/model"),
    *("data/03_primary/.gitkeep", "mlflow.db", "mlartifacts/1/report.html", "conf/local/parameters.yml"),
    *("lafs_pipeline.log", "src/a/b.py", "notes.txt"),
)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with the Makefile, caches, and files that somebody would miss."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in (*(f"{cache}/file" for cache in CACHES), *OF_USERS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def make(project: Path, target: str, answer: str = "", **variables: str) -> subprocess.CompletedProcess:
    command = ["make", target, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=project, input=answer, capture_output=True, text=True, check=False)


def test_clean_leaves_what_is_a_users(project):
    assert make(project, "clean", LAFS_DATA="").returncode == 0
    assert not [cache for cache in CACHES if (project / cache).exists()]
    assert [name for name in OF_USERS if (project / name).exists()] == list(OF_USERS)


@pytest.mark.parametrize("answer", ["", "no\n", "y\n"])
def test_data_stays_without_a_yes(project, answer):
    """What would go is listed with its size."""
    said = make(project, "clean-data", answer, LAFS_DATA="")
    assert said.returncode != 0
    assert "data/06_models/checkpoints" in said.stdout
    assert "total" in said.stdout
    assert all((project / name).exists() for name in OF_USERS)


def test_data_goes_after_a_yes(project):
    assert make(project, "clean-data", "yes\n", LAFS_DATA="").returncode == 0
    gone = {name for name in OF_USERS if not (project / name).exists()}
    assert gone == {name for name in OF_USERS if name.startswith("data/06_models/")}


def test_the_folder_that_is_named_is_the_one_that_goes(project, tmp_path):
    other = tmp_path / "a folder"
    (other / "06_models").mkdir(parents=True)
    (other / "06_models/model").write_text("x")
    assert make(project, "clean-data", "yes\n", LAFS_DATA=str(other)).returncode == 0
    assert not (other / "06_models/model").exists()
    assert all((project / name).exists() for name in OF_USERS)
