"""Refuse what cannot work before anything is written."""

import os
import re
from collections.abc import Iterator
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lafs_pipeline.models.methods import LAFS
from lafs_pipeline.pipelines.parameters import GROUPS, check
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import local_path

PARAMETER = "params:"
REFUSED_RUNNER = re.compile("ThreadRunner|ParallelRunner")
SHOWN_WHERE_THERE = ("earlier_study_runs",)
LANDMARKS = {"landmark_network", "landmarks", "landmark_overlay_plot"}
MOVED = {"packed_faces": "stores"}
"""Files named by `paths` in version 0.1, and the folders that are there now."""


class GuardHooks:
    """Checks runner, parameters and inputs before the first node."""

    @hook_impl(tryfirst=True)
    def after_context_created(self) -> None:
        """Refuse a data folder that is not on this machine, before anything asks for it."""
        local_path(os.environ.get("LAFS_DATA", ""), "the variable LAFS_DATA")

    @hook_impl(wrapper=True, tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Iterator[None]:
        """Refuse other runners, parameters that cannot be, and a pipeline run before the one it needs."""
        if runner := REFUSED_RUNNER.search(run_params["runner"]):
            raise LafsError(
                f"{runner[0]} runs nodes side by side, which would share torch's random generator and the "
                "cores of one training: leave --runner out (or give SequentialRunner). A training starts "
                "processes of its own: --params launch.processes=N"
            )
        paths = catalog.load("parameters").get("paths", {})
        for name, path in paths.items():
            expanded = local_path(path, f"parameter paths.{name}")
            if expanded != path:
                raise LafsError(
                    f"parameter paths.{name} is {path}, which is not expanded here: give {expanded}"
                )
        for old, new in MOVED.items():
            if old in paths:
                raise LafsError(
                    f"parameter paths.{old} gave way to the folder paths.{new}; rename it in conf/"
                )
        inputs = pipeline.inputs()
        for name in sorted(inputs):
            group = name.removeprefix(PARAMETER)
            if name.startswith(PARAMETER) and group in GROUPS and catalog.exists(name):
                check(catalog.load(name), group)
        needed = inputs - _dispensable(inputs, catalog)
        absent = sorted(
            name for name in needed if not name.startswith(PARAMETER) and not catalog.exists(name)
        )
        if absent:
            raise LafsError(_what_to_run(absent))
        return (yield)

    @hook_impl(tryfirst=True)
    def before_node_run(self, is_async: bool) -> None:
        """Refuse data sets saved in threads of their own, where MLflow has no active run."""
        if is_async:
            raise LafsError(
                "--async saves data sets in other threads, from where nothing would be logged to the MLflow "
                "run; leave it out"
            )


def _dispensable(inputs: set[str], catalog: DataCatalog) -> set[str]:
    """Inputs that this run does without: their entries load nothing where nothing is."""
    found = set(SHOWN_WHERE_THERE)
    if LAFS not in catalog.load("parameters").get("pretrain", {}).get("methods", [LAFS]):
        found |= LANDMARKS
    if "face_models" in inputs:
        found |= {"backbones", "adapt_faces"}
    return found


def _what_to_run(absent: list[str]) -> str:
    makers = [
        stage
        for stage, pipeline in pipelines.items()
        if stage != "__default__" and pipeline.all_outputs() & set(absent)
    ]
    return (
        f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet; "
        f"first run: kedro run --pipelines={','.join(makers)}"
    )
