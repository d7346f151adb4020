"""Kedro project settings."""

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from kedro.utils import find_kedro_project

from lafs_pipeline.hooks import EndingHooks, GuardHooks, SummaryHooks, TrackingHooks

# MLflow would have type hints in a class of kedro-mlflow, and tells so whatever the filters are. Not before
# Kedro's logging is set up, which takes warnings over.
with warnings.catch_warnings(record=True):
    import kedro_mlflow.framework.hooks.mlflow_hook  # noqa: F401

PROJECT = find_kedro_project(Path.cwd()) or Path.cwd()
SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""MLflow changes the variable later on."""

# A dead server costs one request: less than a minute, by MLflow's defaults a quarter of an hour.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "25")
# What Kedro has to mend.
warnings.filterwarnings("ignore", "register_new_resolver", UserWarning)
# Bars of MLflow's own are for a person, not for a file.
if not sys.stderr.isatty():
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Load of processors, memory, disk and network every ten seconds, and of GPUs where nvidia-ml-py is installed.
if importlib.util.find_spec("psutil"):
    os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")


def _data_folder() -> str:
    """Absolute path of `data/`, or of LAFS_DATA where that is set."""
    return str(PROJECT / os.environ.get("LAFS_DATA", "data"))


def _tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where that is set, else SQLite inside the project."""
    return SERVER or f"sqlite:///{PROJECT / 'mlflow.db'}"


def _artifact_location() -> str | None:
    """Beside the SQLite store; a tracking server knows its own."""
    return None if SERVER else (PROJECT / "mlartifacts").as_uri()


def _environment(name: str, default: Any = None) -> Any:
    """An environment variable, for paths of one machine."""
    return os.environ.get(name, default)


# Of hooks with the same precedence the last one comes first, and those of plugins before these.
HOOKS = (TrackingHooks(), SummaryHooks(), GuardHooks(), EndingHooks())

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    "custom_resolvers": {
        "data_folder": _data_folder,
        "tracking_uri": _tracking_uri,
        "artifact_location": _artifact_location,
        "environment": _environment,
    },
}
