"""Nodes of the study pipeline."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse
from lafs_pipeline.pipelines.settings import ModelSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

logger = logging.getLogger(__name__)


def pretrain_grid(
    faces: pd.DataFrame,
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    study_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> "FViT":
    """The teacher of plain DINO on the grid, pretrained for as long as LAFS."""
    from lafs_pipeline.evaluation.study import StudySettings, grid_pretraining
    from lafs_pipeline.pipelines.workplace import workplace
    from lafs_pipeline.training.jobs import pretrain
    from lafs_pipeline.training.recipes import fresh_grid_model
    from lafs_pipeline.training.self_supervised import PretrainSettings

    options = grid_pretraining(
        parse(PretrainSettings, parameters, "pretrain"), parse(StudySettings, study_parameters, "study")
    )
    model = parse(ModelSettings, model_parameters, "model")
    start = fresh_grid_model(model.name, model.sizes, seed)
    place = workplace("pretrain_grid", checkpoints, seed, launch)
    return pretrain(start, faces[faces["split"] == "train"], options, place)


def run_study(
    lafs: "PartFViT",
    grid: "FViT",
    network: "LandmarkNetwork",
    study_parameters: dict[str, Any],
    adapt_parameters: dict[str, Any],
    evaluate_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
    **tables: pd.DataFrame,
) -> pd.DataFrame:
    """Every adaptation of the study as an MLflow child run; those that are finished are not run again."""
    from lafs_pipeline.evaluation.benchmarks import BenchmarkData
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.evaluation.study import Study, StudySettings, plan_study, study_frame
    from lafs_pipeline.pipelines.child_runs import child_run
    from lafs_pipeline.pipelines.tracking import active_sinks
    from lafs_pipeline.pipelines.workplace import workplace
    from lafs_pipeline.training.recipes import AdaptSettings

    options = parse(StudySettings, study_parameters, "study")
    study = Study(
        backbones={"lafs": lafs, "grid": grid},
        network=network,
        data=BenchmarkData(**tables),
        adapt=parse(AdaptSettings, adapt_parameters, "adapt"),
        evaluate=parse(EvaluateSettings, evaluate_parameters, "evaluate"),
        place=workplace("study", checkpoints, seed, launch),
        steps=options.steps,
    )
    results = []
    runs = plan_study(options)
    for number, run in enumerate(runs, start=1):
        found = study.finished(run)
        state = ", finished before" if found else ""
        logger.info("study: run %d of %d, %s%s", number, len(runs), run.name, state)
        if found is None:
            facts = {"method": run.method, "shots": run.shots, "seed": run.seed}
            with child_run(run.name, facts, study.folder(run)) as log:
                found = study.execute(run, active_sinks("adapt", study.folder(run)))
                log({f"{result.benchmark}/accuracy": result.accuracy for result in found})
        results += found
    logger.info("study: results of every run lie in %s", Path(checkpoints) / "study")
    return study_frame(results)


def tabulate(runs: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean and standard deviation over seeds, and paired differences of the methods with intervals."""
    from lafs_pipeline.evaluation.few_shot import few_shot_table, paired_differences
    from lafs_pipeline.evaluation.study import study_results

    results = study_results(runs)
    return few_shot_table(results), paired_differences(results, seed)


def draw(runs: pd.DataFrame) -> "Figure":
    """Accuracy over shots."""
    from lafs_pipeline.evaluation.few_shot_plot import plot_few_shot
    from lafs_pipeline.evaluation.study import study_results

    return plot_few_shot(study_results(runs))
