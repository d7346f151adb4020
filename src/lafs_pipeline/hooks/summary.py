"""What a finished run shows."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog


class SummaryHooks:
    """The benchmark table at the end of the run that made it."""

    def __init__(self) -> None:
        self.table: pd.DataFrame | None = None

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Keep the table."""
        if dataset_name == "benchmarks":
            self.table = data

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Print the table and what to look at next."""
        if self.table is None:
            return
        wide = self.table.pivot(index=["benchmark", "model"], columns="metric", values="value")
        folder = Path(catalog.load("params:paths.reporting"))
        print(f"\n{wide.to_string(float_format='{:.4f}'.format)}\n")
        print(f"Table and plots: {folder}")
        print("Next: kedro mlflow ui (curves, comparison of runs), kedro viz run (the graph)")
