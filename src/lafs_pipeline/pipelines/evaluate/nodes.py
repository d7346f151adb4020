"""Nodes of the evaluate pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse
from lafs_pipeline.pipelines.settings import EvaluateSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.verification import VerificationResult
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Results = dict[str, VerificationResult]


def verify_model(
    model: "PartFViT | FViT", faces: pd.DataFrame, pairs: pd.DataFrame, parameters: dict[str, Any]
) -> "Results":
    """A model's result on each benchmark."""
    from lafs_pipeline.evaluation.benchmarks import verify_benchmarks
    from lafs_pipeline.runtime.processes import local_device

    options = parse(EvaluateSettings, parameters, "evaluate")
    return verify_benchmarks(
        model, faces, pairs, local_device(), options.flip, options.batch_size, options.workers
    )


def tabulate(
    parameters: dict[str, Any], stage1: "Results", scratch: "Results", lafs: "Results"
) -> pd.DataFrame:
    """One row a model, benchmark and metric, with the flags of the protocol."""
    from lafs_pipeline.evaluation.benchmarks import benchmark_table

    options = parse(EvaluateSettings, parameters, "evaluate")
    return benchmark_table({"stage1": stage1, "scratch": scratch, "lafs": lafs}, options.flip)


def draw_roc(stage1: "Results", scratch: "Results", lafs: "Results") -> "Figure":
    """ROC curves of the models, one panel a benchmark."""
    from lafs_pipeline.evaluation.roc_plot import plot_roc

    benchmark = next(iter(stage1))
    results = {"stage 1": stage1, "scratch": scratch, "LAFS": lafs}
    return plot_roc({name: result[benchmark] for name, result in results.items()}, benchmark)
