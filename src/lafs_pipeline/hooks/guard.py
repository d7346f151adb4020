"""Refuse what cannot work before anything is written."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lafs_pipeline.hooks.advice import advice
from lafs_pipeline.hooks.environment import DataFolder
from lafs_pipeline.models.methods import LAFS
from lafs_pipeline.pipelines.checks import check_together, given_names, refuse_unknown, require_given
from lafs_pipeline.pipelines.parameters import GROUPS, check
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import local_path

PARAMETER = "params:"
REFUSED_RUNNER = re.compile("ThreadRunner|ParallelRunner")
SHOWN_WHERE_THERE = ("earlier_study_runs", "landmark_quality")
LANDMARKS = {"landmark_network", "landmarks", "landmark_overlay_plot"}
MOVED = {"packed_faces": "stores"}
"""Files named by `paths` in version 0.1, and the folders that are there now."""


class GuardHooks:
    """Checks runner, parameters and inputs before the first node."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Refuse a data folder that is not on this machine, before anything asks for it."""
        place = local_path(os.environ.get("LAFS_DATA", ""), "the variable LAFS_DATA")
        if Path(place).is_file():
            raise LafsError(f"the variable LAFS_DATA names {place}, which is a file; name a folder")
        self._conf = Path(context.config_loader.conf_source)
        self._data = context.config_loader["globals"]["data"]

    @hook_impl(wrapper=True, tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Iterator[None]:
        """Refuse other runners, parameters that cannot be, and a pipeline run before the one it needs."""
        advice.begin(run_params)
        if runner := REFUSED_RUNNER.search(run_params["runner"]):
            raise LafsError(
                f"{runner[0]} runs nodes side by side, which would share torch's random generator and the "
                "cores of one training: leave --runner out (or give SequentialRunner). A training starts "
                "processes of its own: --params launch.processes=N"
            )
        _refuse_unversioned(run_params.get("load_versions") or {}, catalog)
        paths = catalog.load("parameters").get("paths", {})
        for old, new in MOVED.items():
            if old in paths:
                raise LafsError(
                    f"parameter paths.{old} gave way to the folder paths.{new}; rename it in conf/"
                )
        for name, path in paths.items():
            whole = local_path(path, f"parameter paths.{name}")
            if whole != path:
                raise LafsError(
                    f"parameter paths.{name} is {path}, which another process may read in another way; "
                    f"give {whole}"
                )
        self._refuse_unknown_parameters(catalog)
        inputs = pipeline.inputs()
        used = {name.removeprefix(PARAMETER) for name in inputs if name.startswith(PARAMETER)}
        given = set(run_params.get("runtime_params") or {})
        parsed: dict[str, Any] = {
            group: check(catalog.load(f"{PARAMETER}{group}"), group)
            for group in sorted(GROUPS)
            if group in used | given and catalog.exists(f"{PARAMETER}{group}")
        }
        if "cataloging" in used:
            require_given(self._conf / (run_params["env"] or ""), catalog.load("parameters"))
        check_together(
            {group: values for group, values in parsed.items() if group in used}, catalog.load("parameters")
        )
        needed = inputs - _dispensable(inputs, catalog)
        if "evaluate" in used and parsed["evaluate"].models:
            needed -= {"face_models", "view_montage_plot", *LANDMARKS}
        absent = sorted(
            name for name in needed if not name.startswith(PARAMETER) and not catalog.exists(name)
        )
        if absent:
            raise LafsError(_what_to_run(absent))
        self._folder = DataFolder(self._data, run_params)
        self._folder.refuse_other_results(pipeline, catalog)
        return (yield)

    def _refuse_unknown_parameters(self, catalog: DataCatalog) -> None:
        """Whatever no pipeline reads is misspelt."""
        names = {
            name.removeprefix(PARAMETER)
            for pipeline in pipelines.values()
            for name in pipeline.inputs()
            if name.startswith(PARAMETER)
        }
        groups = {name.partition(".")[0] for name in names}
        parameters = catalog.load("parameters")
        loose = {name for name, value in parameters.items() if not isinstance(value, dict)}
        given = given_names(self._conf) if self._conf.is_dir() else loose  # an archive is not looked into
        refuse_unknown(parameters, groups | set(GROUPS) | given)
        within = {name.removeprefix("paths.") for name in names if name.startswith("paths.")}
        refuse_unknown(parameters.get("paths", {}), within, "paths")

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node, catalog: DataCatalog, is_async: bool) -> None:
        """Refuse data sets saved in threads of their own, where MLflow has no active run."""
        if is_async:
            raise LafsError(
                "--async saves data sets in other threads, from where nothing would be logged to the MLflow "
                "run; leave it out"
            )
        advice.enter(node.name, catalog.load("parameters").get("landmarks", {}).get("method", ""))

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self) -> None:
        """From now on these are results of this environment."""
        self._folder.claim()


def _refuse_unversioned(wanted: dict[str, str], catalog: DataCatalog) -> None:
    """Kedro passes over versions of entries that keep none, and loads what is there."""
    for name in wanted:
        catalog.get(name)  # what a pattern stands for is known from then on
        if not catalog.to_config()[0].get(name, {}).get("versioned"):
            raise LafsError(
                f"--load-versions asks for a version of {name}, of which only the last is kept: leave it "
                "out, or give the entry `versioned: true` in a catalog.yml before the runs that make it"
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
    found = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet; "
    if not makers:
        return f"{found}no pipeline makes it: put it where the catalog says (conf/base/catalog.yml)"
    return f"{found}first run: kedro run --pipelines={','.join(makers)}"
