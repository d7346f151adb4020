"""What a finished run shows."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lafs_pipeline.hooks.advice import advice
from lafs_pipeline.models.methods import leading
from lafs_pipeline.tracking.facts import saved_path, wide_table
from lafs_pipeline.tracking.labels import WHOLE, in_order

logger = logging.getLogger(__name__)

NEXT = {
    "cataloging": "kedro run --pipelines=landmarks",
    "landmarks": "kedro run --pipelines=pretrain",
    "pretrain": "kedro run --pipelines=adapt",
    "adapt": "kedro run --pipelines=evaluate",
    "evaluate": "kedro run --pipelines=report",
    "export": "lafs embed FOLDER --model {exported}",
}
TO_LOOK = "kedro mlflow ui (curves, comparison of runs), kedro viz run (the graph)"
SHOWN = ("benchmarks", "verdict", "study_table", "study_verdict")


class SummaryHooks:
    """At the end of a run: its table, where its results lie, and what to do next.

    Its hooks come first: after one of kedro-mlflow's that fails, pluggy calls no other.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Start anew: a process can run several pipelines."""
        self.nodes, self.begun, self.clock = len(pipeline.nodes), 0, time.monotonic()
        self.saved: list[str] = []
        self.shown: dict[str, pd.DataFrame | str] = {}

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node) -> None:
        """Say which step of how many begins, and how long it took to come here."""
        self.begun += 1
        seconds = round(time.monotonic() - self.clock)
        place = f"{self.begun:{len(str(self.nodes))}} of {self.nodes}"
        logger.info("step %s, after %d:%02d min: %s", place, *divmod(seconds, 60), node.name)

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Note what was saved, and keep what is shown."""
        self.saved.append(dataset_name)
        if dataset_name in SHOWN:
            self.shown[dataset_name] = data

    @hook_impl(tryfirst=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Print them."""
        kept = [name for name in self.saved if name in pipeline.all_outputs() and name in catalog]
        files = {name: place for name in kept if (place := saved_path(catalog, name)) is not None}
        if files:
            print(f"\n{_listing(files.values())}")
        for name in SHOWN:
            if name in self.shown and len(self.shown[name]):
                print(f"\n{_text(name, self.shown[name])}")
        if "report" in files:
            print(f"\nThe report, for a browser: {files['report'].absolute().as_uri()}")
        print(f"\nNext: {advice.complete(_next(run_params, files))}")


def _text(name: str, shown: pd.DataFrame | str) -> str:
    """As it is printed."""
    if isinstance(shown, str):
        return shown
    return _benchmarks(shown) if name == "benchmarks" else shown.to_string(index=False)


def _benchmarks(table: pd.DataFrame) -> str:
    """The table in per cent, what is quoted with its interval, without the results of single groups."""
    from lafs_pipeline.evaluation.results import headline_metric

    whole = table[table["group"].isna()]
    quoted = {name: headline_metric(rows["metric"]) for name, rows in whole.groupby("benchmark")}
    shown = [
        f"{row.value:.1%} [{row.low:.1%}, {row.high:.1%}]"
        if quoted[row.benchmark] == row.metric and pd.notna(row.low)
        else ("" if pd.isna(row.value) else f"{row.value:.1%}")
        for row in whole.itertuples()
    ]
    return wide_table(whole.assign(value=shown)).to_string(na_rep="")


def _listing(files: Iterable[Path]) -> str:
    """The files by folder, folders in order."""
    folders = defaultdict(list)
    for file in set(files):
        folders[file.parent].append(file.name)
    width = max(len(str(folder)) for folder in folders)
    rows = (f"{folder!s:{width}}  {', '.join(sorted(folders[folder]))}" for folder in sorted(folders))
    return "\n".join(rows)


def _next(run_params: dict[str, Any], files: dict[str, Path]) -> str:
    command = NEXT.get(in_order(run_params["pipeline_names"] or [WHOLE])[-1])
    if command is None:
        return TO_LOOK
    return command.format(exported=_exported(files.get("exported_models")))


def _exported(folder: Path | None) -> str | Path:
    """The leading one of the models to take away."""
    names = [] if folder is None else [path.name for path in folder.iterdir() if path.is_dir()]
    return folder / leading(names) if names else "MODEL"
