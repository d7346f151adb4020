"""A project opened from another working folder is the same project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
OPEN = """
import sys
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

project = Path(sys.argv[1])
bootstrap_project(project)
with KedroSession.create(project_path=project, env="smoke") as session:
    session.run(pipeline_names=["cataloging"])
"""


@pytest.fixture
def project(tmp_path):
    """The parts of the project that a run needs, in a folder of their own."""
    home = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", home / "conf")
    shutil.copy(PROJECT / "pyproject.toml", home)
    shutil.copytree(PROJECT / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return home


def test_data_and_runs_stay_in_the_project(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("LAFS_", "MLFLOW_"))
    }
    subprocess.run([sys.executable, "-c", OPEN, project], cwd=elsewhere, env=variables, check=True)
    assert (project / "data/03_primary/faces.parquet").is_file()
    assert list((project / "data/02_intermediate/faces").glob("*.rec"))
    assert (project / "mlflow.db").is_file()
    assert list((project / "mlartifacts").rglob("dataset_card.json"))
    assert [path.name for path in elsewhere.rglob("*") if not path.name.endswith(".log")] == []
