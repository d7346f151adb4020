"""Nodes of the study pipeline."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import ModelSettings, parse, parse_pretraining
from lafs_pipeline.runtime.errors import LafsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.embeddings import EmbeddingStore
    from lafs_pipeline.models.embedding import Embeddings
    from lafs_pipeline.models.landmark_network import LandmarkNetwork
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Models = dict[str, Callable[[], PartFViT | FViT]]

logger = logging.getLogger(__name__)


def pretrain_variants(
    pretrained: "Models",
    faces: pd.DataFrame,
    network: "LandmarkNetwork | None",
    landmarks: "Embeddings | None",
    model_parameters: dict[str, Any],
    parameters: dict[str, Any],
    study_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
) -> dict[str, "PartFViT | FViT"]:
    """The teachers that methods start from and that pretraining has not left, pretrained for as long."""
    from lafs_pipeline.evaluation.settings import StudySettings
    from lafs_pipeline.evaluation.study import pretraining_variants
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.views import views_picture
    from lafs_pipeline.training.jobs import pretrain
    from lafs_pipeline.training.recipes.starts import pretraining_start

    train = faces[faces["split"] == "train"]
    options = parse_pretraining(parameters, len(train), network)
    model = parse(ModelSettings, model_parameters, "model")
    backbones = {}
    variants = pretraining_variants(options, parse(StudySettings, study_parameters, "study"))
    for name, recipe in variants.items():
        if name in pretrained:
            continue
        start = pretraining_start(model.name, model.sizes, seed, network, recipe)
        context = run_context(f"pretrain_{name}", checkpoints, seed, launch)
        backbones[name] = pretrain(start, train, recipe, context, landmarks, views_picture)
    return backbones


def run_study(
    backbones: "Models",
    variants: "Models",
    store: "EmbeddingStore",
    study_parameters: dict[str, Any],
    adapt_parameters: dict[str, Any],
    evaluate_parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
    **tables: pd.DataFrame,
) -> pd.DataFrame:
    """Every adaptation of the study as an MLflow child run; those that are finished are not run again."""
    from lafs_pipeline.evaluation.evaluate import BenchmarkData
    from lafs_pipeline.evaluation.settings import EvaluateSettings, StudySettings
    from lafs_pipeline.evaluation.study import Study, plan_study, study_frame
    from lafs_pipeline.faces.manifest import fingerprint
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.models.methods import SCRATCH, leading_pretrained
    from lafs_pipeline.pipelines.run_context import run_context
    from lafs_pipeline.reporting.landmarks import landmarks_picture
    from lafs_pipeline.tracking.child_runs import child_run
    from lafs_pipeline.tracking.metric_logger import active_loggers
    from lafs_pipeline.training.recipes.settings import AdaptSettings

    options = parse(StudySettings, study_parameters, "study")
    pretrained = leading_pretrained(backbones)
    if SCRATCH not in backbones or pretrained is None:
        raise LafsError(
            f"backbones holds {', '.join(backbones) or 'nothing'}; the study starts from scratch and from "
            "what is pretrained: first run kedro run --pipelines=pretrain"
        )
    starts = {name: load() for name, load in (variants | backbones).items()}
    study = Study(
        backbones=starts,
        data=BenchmarkData(**tables),
        adapt=parse(AdaptSettings, adapt_parameters, "adapt"),
        evaluate=parse(EvaluateSettings, evaluate_parameters, "evaluate"),
        store=store,
        context=run_context("study", checkpoints, seed, launch),
        steps=options.steps,
        draw=landmarks_picture,
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
                found = study.execute(run, active_loggers("adapt"))
                log({f"accuracy/{result.benchmark}": result.accuracy for result in found})
        results += found
    logger.info("study: results of every run lie in %s", Path(checkpoints) / "study")
    return study_frame(results, fingerprint(tables["faces"]), model_digest(starts[pretrained]))


def tabulate(
    runs: pd.DataFrame, pairs: pd.DataFrame, backbones: "Models", checkpoints: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Mean and standard deviation over seeds, paired differences, and what they say in words."""
    from lafs_pipeline.evaluation.few_shot import few_shot_table, paired_differences
    from lafs_pipeline.evaluation.study import study_results
    from lafs_pipeline.pipelines.evaluate.nodes import steps_of
    from lafs_pipeline.reporting.verdict import answer_by_chance, study_verdict

    results, steps = study_results(runs), steps_of(backbones, checkpoints)
    sentences = study_verdict(results, seed, answer_by_chance(pairs), steps)
    return few_shot_table(results), paired_differences(results, seed), "\n".join(sentences)


def draw(runs: pd.DataFrame, pairs: pd.DataFrame) -> "Figure":
    """Accuracy over shots."""
    from lafs_pipeline.evaluation.study import study_results
    from lafs_pipeline.reporting.few_shot import plot_few_shot
    from lafs_pipeline.reporting.verdict import answer_by_chance

    return plot_few_shot(study_results(runs), answer_by_chance(pairs))
