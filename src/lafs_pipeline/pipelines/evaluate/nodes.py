"""Nodes of the evaluate pipeline."""

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.results import BenchmarkResult
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Results = list[BenchmarkResult]

logger = logging.getLogger(__name__)


def verify_model(
    model: "PartFViT | FViT",
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    backbone_digest: str | None = None,
    **tables: pd.DataFrame,
) -> "Results":
    """A model's result on each benchmark; `tables` are those that cataloging yields.

    A model that was adapted from another backbone than the one that is there now is named in a warning.
    """
    from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    provenance = getattr(model, "provenance", None)
    if backbone_digest and provenance and provenance.start != backbone_digest:
        logger.warning(
            "face_model_lafs was adapted from a backbone (%.12s) that is not lafs_backbone as it is now "
            "(%.12s); for the scores of the latter run: kedro run --pipelines=adapt,evaluate",
            provenance.start,
            backbone_digest,
        )
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
