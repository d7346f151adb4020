"""Kedro project settings."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.utils import find_kedro_project

from lafs_pipeline.hooks import EndingHooks, GuardHooks, SummaryHooks, TrackingHooks
from lafs_pipeline.hooks.ending import show_messages
from lafs_pipeline.hooks.logs import set_up_logs, use_terminal_handler
from lafs_pipeline.runtime.cores import wait_passively
from lafs_pipeline.runtime.credentials import keep_credentials_out_of_logs

keep_credentials_out_of_logs()
set_up_logs(next(filter(None, map(find_kedro_project, (Path.cwd(), Path(__file__).parent))), Path.cwd()))
use_terminal_handler()
show_messages()

# MLflow would have type hints in a class of kedro-mlflow, and tells so whatever the filters are. Not before
# Kedro's logging is set up, which takes warnings over.
with warnings.catch_warnings(record=True):
    import kedro_mlflow.framework.hooks.mlflow_hook  # noqa: F401

SERVER = os.environ.get("MLFLOW_TRACKING_URI")
"""MLflow changes the variable later on."""

# Before the first node imports torch.
wait_passively()
# A dead server costs one request: less than a minute, by MLflow's defaults a quarter of an hour.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "25")
# What Kedro has to mend.
warnings.filterwarnings("ignore", "register_new_resolver", UserWarning)
# Bars of MLflow's own are for a person, not for a file.
if not sys.stderr.isatty():
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Load of processors, memory, disk, network and GPUs every ten seconds.
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")


class ProjectConfigLoader(OmegaConfigLoader):
    """Configuration whose paths start in the project, whatever the working folder is.

    The project is the one around `conf_source`. Where there is none, as beside an installed wheel, it is the
    one around the working folder, or that folder itself.
    """

    def __init__(self, conf_source: str | Path, *args: Any, **options: Any) -> None:
        places = (Path(conf_source).absolute(), Path.cwd())
        project = next(filter(None, map(find_kedro_project, places)), Path.cwd())
        super().__init__(conf_source, *args, custom_resolvers=_resolvers(project), **options)


def _resolvers(project: Path) -> dict[str, Callable]:
    return {
        # data/, or the folder named by LAFS_DATA
        "data_folder": lambda: str(project / Path(os.environ.get("LAFS_DATA", "data")).expanduser()),
        # SQLite inside the project, or the server named by MLFLOW_TRACKING_URI
        "tracking_uri": lambda: SERVER or f"sqlite:///{project / 'mlflow.db'}",
        # beside the SQLite store; a tracking server knows its own
        "artifact_location": lambda: None if SERVER else (project / "mlartifacts").as_uri(),
        # paths of one machine
        "environment": os.environ.get,
    }


# Of hooks with the same precedence the last one comes first, and those of plugins before these.
HOOKS = (TrackingHooks(), SummaryHooks(), GuardHooks(), EndingHooks())

CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
}
