"""Nodes of the evaluate pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.results import BenchmarkResult
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Results = list[BenchmarkResult]


def verify_model(
    model: "PartFViT | FViT",
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    **tables: pd.DataFrame,
) -> "Results":
    """A model's result on each benchmark; `tables` are those that cataloging yields."""
    from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    options = parse(EvaluateSettings, parameters, "evaluate")
    launching = parse(LaunchSettings, launch, "launch")
    return evaluate_model(model, BenchmarkData(**tables), options, launching, seed)


def tabulate(stage1: "Results", scratch: "Results", lafs: "Results") -> pd.DataFrame:
    """One row a model, benchmark and metric, with what it must be read with."""
    from lafs_pipeline.evaluation.results import benchmark_table

    return benchmark_table({"stage1": stage1, "scratch": scratch, "lafs": lafs})


def draw_roc(stage1: "Results", scratch: "Results", lafs: "Results") -> "Figure":
    """ROC curves of the models, one panel a benchmark."""
    from lafs_pipeline.reporting.roc import plot_roc

    return plot_roc({"stage 1": stage1, "scratch": scratch, "LAFS": lafs})
