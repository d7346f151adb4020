"""Whole runs of the pipeline, each with a data folder and an MLflow store of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kedro():
    """Run `kedro <arguments>` in the project with LAFS_DATA set; returns the finished process."""

    def run(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        variables = {
            "LAFS_DATA": str(data),
            "MLFLOW_TRACKING_URI": f"sqlite:///{data}/mlflow.db",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        return subprocess.run(
            [Path(sys.executable).with_name("kedro"), *arguments],
            cwd=PROJECT,
            env=os.environ | variables | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


@pytest.fixture(scope="session")
def smoke(kedro, tmp_path_factory) -> Path:
    """The data folder of one whole run in the smoke environment."""
    data = tmp_path_factory.mktemp("smoke")
    finished = kedro(data, "run", "--env", "smoke")
    assert finished.returncode == 0, finished.stderr[-3000:]
    return data


@pytest.fixture(scope="session")
def faces(smoke):
    return pd.read_parquet(smoke / "03_primary/faces.parquet")


@pytest.fixture(scope="session")
def mlflow_run(smoke):
    client = MlflowClient(f"sqlite:///{smoke}/mlflow.db")
    experiment = client.get_experiment_by_name("lafs_pipeline")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return client, runs[0]
