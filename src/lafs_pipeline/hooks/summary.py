"""What a finished run shows."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lafs_pipeline.models.methods import leading
from lafs_pipeline.tracking.facts import saved_path, wide_table
from lafs_pipeline.tracking.labels import WHOLE, in_order

NEXT = {
    "cataloging": "kedro run{env} --pipelines=landmarks",
    "landmarks": "kedro run{env} --pipelines=pretrain",
    "pretrain": "kedro run{env} --pipelines=adapt",
    "adapt": "kedro run{env} --pipelines=evaluate",
    "evaluate": "kedro run{env} --pipelines=report",
    "export": "lafs embed FOLDER --model {exported}",
}
TO_LOOK = "kedro mlflow ui (curves, comparison of runs), kedro viz run (the graph)"
SHOWN = ("benchmarks", "verdict", "study_table", "study_verdict")


class SummaryHooks:
    """At the end of a run: its table, where its results lie, and what to do next."""

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Start anew: a process can run several pipelines one after the other."""
        self.saved: list[str] = []
        self.shown: dict[str, pd.DataFrame | str] = {}

    @hook_impl
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
        for name in SHOWN:
            if name in self.shown and len(self.shown[name]):
                print(f"\n{_text(name, self.shown[name])}")
        if files:
            print(f"\n{_listing(files.values())}")
        if "report" in files:
            print(f"\nThe report, for a browser: {files['report']}")
        print(f"\nNext: {_next(run_params, files)}")


def _text(name: str, shown: pd.DataFrame | str) -> str:
    """As it is printed; the benchmark table without the results of single groups."""
    if isinstance(shown, str):
        return shown
    if name != "benchmarks":
        return shown.to_string(index=False)
    table = shown
    return wide_table(table[table["group"].isna()]).to_string(float_format="{:.4f}".format, na_rep="")


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
    env = f" --env {run_params['env']}" if run_params["env"] else ""
    return command.format(env=env, exported=_exported(files.get("exported_models")))


def _exported(folder: Path | None) -> str | Path:
    """The leading one of the models to take away."""
    names = [] if folder is None else [path.name for path in folder.iterdir() if path.is_dir()]
    return folder / leading(names) if names else "MODEL"
