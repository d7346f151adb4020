"""Kedro hooks: refuse what cannot work before anything is written, and tell MLflow what was run."""

import importlib.metadata
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import mlflow
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from lafs_pipeline.pipelines.parameters import parse
from lafs_pipeline.pipelines.settings import parameter_groups
from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

PARAMETER = "params:"
TAGGED_LIBRARIES = ("lafs-pipeline", "torch", "timm", "kedro", "opencv-python-headless", "numpy")


class GuardHooks:
    """Checks parameters and inputs before the first node, and shows user errors without a traceback."""

    @hook_impl
    def after_context_created(self) -> None:
        """Show the message of a user error alone."""
        show_rest = sys.excepthook

        def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            found = _user_error(error)
            if found is None:
                show_rest(kind, error, trace)
            else:
                print(f"\nError: {found}", file=sys.stderr)

        sys.excepthook = show

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Refuse unknown or impossible parameters, and a pipeline run before the one it needs."""
        groups = parameter_groups()
        inputs = pipeline.inputs()
        for name in sorted(inputs):
            group = name.removeprefix(PARAMETER)
            if name.startswith(PARAMETER) and group in groups and catalog.exists(name):
                parse(groups[group], catalog.load(name), group)
        absent = sorted(
            name for name in inputs if not name.startswith(PARAMETER) and not catalog.exists(name)
        )
        if absent:
            raise LafsError(_what_to_run(absent))


def _what_to_run(absent: list[str]) -> str:
    makers = [
        station
        for station, pipeline in pipelines.items()
        if station != "__default__" and pipeline.all_outputs() & set(absent)
    ]
    return (
        f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet; "
        f"first run: kedro run --pipelines={','.join(makers)}"
    )


def _user_error(error: BaseException | None) -> LafsError | None:
    """The user error behind an exception, through the wrappers of Kedro."""
    while error is not None and not isinstance(error, LafsError):
        error = error.__cause__ or error.__context__
    return error


class TrackingHooks:
    """Tags of the MLflow run, and the benchmark table as its metrics."""

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Tag the run with seed, environment, git commit and library versions."""
        if mlflow.active_run() is None:
            return
        tags = {f"version.{name}": importlib.metadata.version(name) for name in TAGGED_LIBRARIES}
        tags["seed"] = str(catalog.load("params:seed"))
        tags["environment"] = run_params.get("env") or "base"
        if commit := _git_commit(Path(run_params["project_path"])):
            tags["mlflow.source.git.commit"] = commit
        mlflow.set_tags(tags)
        if "faces" in pipeline.inputs() and catalog.exists("dataset_card"):
            _log_data(catalog.load("dataset_card"))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the data with its fingerprint, and every value of the table, so that runs can be compared."""
        if mlflow.active_run() is None:
            return
        if dataset_name == "dataset_card":
            _log_data(data)
        if dataset_name == "benchmarks":
            names = data["benchmark"] + "/" + data["model"] + "/" + data["metric"]
            mlflow.log_metrics(dict(zip(names, data["value"].astype(float), strict=True)))


def _log_data(card: dict[str, Any]) -> None:
    """Log the catalogued faces as the run's input; their digest is the fingerprint of the card."""
    name = "+".join(card["sources"])
    data = MetaDataset(CodeDatasetSource({"sources": name}), name=name, digest=card["fingerprint"])
    mlflow.log_input(data, context="faces")


class SummaryHooks:
    """The benchmark table at the end of the run that made it."""

    def __init__(self) -> None:
        self.table: pd.DataFrame | None = None

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Keep the table."""
        if dataset_name == "benchmarks":
            self.table = data

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Print the table and what to look at next."""
        if self.table is None:
            return
        wide = self.table.pivot(index=["benchmark", "model"], columns="metric", values="value")
        folder = Path(catalog.load("params:paths.reporting"))
        print(f"\n{wide.to_string(float_format='{:.4f}'.format)}\n")
        print(f"Table and plots: {folder}")
        print("Next: kedro mlflow ui (curves, comparison of runs), kedro viz run (the graph)")


def _git_commit(project: Path) -> str | None:
    """The checked-out commit, marked `-dirty` where files differ from it; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None
    described = subprocess.run(
        [git, "-C", project, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None
