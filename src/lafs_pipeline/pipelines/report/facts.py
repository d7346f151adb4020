"""What the report says of the run itself."""

import importlib.metadata
from datetime import UTC, datetime

import mlflow

VERSIONS = ("lafs-pipeline", "torch", "timm", "kedro")


def run_facts(seed: int) -> dict[str, str]:
    """Date, seed, versions, and the MLflow run where one is open."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    facts = {"made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "seed": str(seed), "versions": versions}
    run = mlflow.active_run()
    if run is not None:
        facts["MLflow run"] = f"{run.info.run_name} ({run.info.run_id})"
    return facts
