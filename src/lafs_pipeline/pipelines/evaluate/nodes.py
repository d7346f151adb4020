"""Nodes of the evaluate pipeline."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse
from lafs_pipeline.runtime.errors import LafsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from lafs_pipeline.evaluation.embeddings import EmbeddingStore
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.embedding_file import EmbeddingFile
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

Models = dict[str, Callable[[], "PartFViT | FViT"]]
AnyModels = dict[str, Callable[[], "nn.Module | EmbeddingFile"]]
Verification = dict[str, Callable[[], pd.DataFrame]]

logger = logging.getLogger(__name__)


def verify_models(
    face_models: "Models",
    backbones: "Models",
    store: "EmbeddingStore",
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    checkpoints: str,
    **tables: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Results of each face model, of each backbone as it is, and of those of `evaluate.models`.

    With the latter, size and speed are measured and every model is an MLflow child run.

    Args:
        face_models: by name.
        backbones: by method.
        store: keeps embeddings.
        parameters: the group `evaluate`.
        launch: the group `launch`.
        seed: of the intervals.
        checkpoints: folder of the trainings.
        tables: those that cataloging yields.
    """
    from lafs_pipeline.evaluation.cost import measure_cost
    from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
    from lafs_pipeline.evaluation.results import results_frame, with_cost
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.models.methods import FROZEN
    from lafs_pipeline.runtime.launch_settings import LaunchSettings
    from lafs_pipeline.tracking.child_runs import model_run

    data, options = BenchmarkData(**tables), parse(EvaluateSettings, parameters, "evaluate")
    launching = parse(LaunchSettings, launch, "launch")
    models = compared_models(face_models, backbones, options)
    if not models:
        logger.warning("no model is there to be evaluated")
    options.reference_of(models)
    found, digests = {}, {}
    for name, load in models.items():
        model: Any = load()
        own = options.of(name)
        if name.removesuffix(FROZEN) in backbones and name not in face_models:
            digests[name.removesuffix(FROZEN)] = model_digest(model)
        elif name in face_models:
            _warn_of_another_start(name, model, digests.get(name))
        results = evaluate_model(model, data, store, own, launching, seed)
        if options.models:
            results = with_cost(results, *measure_cost(model, own))
            model_run(name, results, Path(checkpoints) / "evaluate" / name)
        found[name] = results_frame(results)
    return found


def compared_models(face_models: Models, backbones: Models, options: "EvaluateSettings") -> AnyModels:
    """What loads every model of the table: backbones as they are, face models, and `evaluate.models`.

    Raises:
        LafsError: one of the latter cannot be opened, or has the name of a face model of this project's.
    """
    from lafs_pipeline.interop.any_model import open_any
    from lafs_pipeline.models.methods import FROZEN

    if doubled := sorted(set(options.models) & set(face_models)):
        raise LafsError(f"evaluate.models has {', '.join(doubled)}, as 06_models/face_models; rename one")
    models: AnyModels = {f"{name}{FROZEN}": load for name, load in backbones.items()}
    models.update(face_models)
    for name, choice in options.models.items():
        try:
            opened = open_any(choice)
        except LafsError as error:
            raise LafsError(f"evaluate.models.{name}: {error}") from error
        models[name] = partial(lambda model: model, opened)
    return models


def _warn_of_another_start(name: str, model: "nn.Module | EmbeddingFile", backbone: str | None) -> None:
    """Name a model that was adapted from another backbone than the one that is there now."""
    provenance = getattr(model, "provenance", None)
    if backbone and provenance and provenance.start != backbone:
        logger.warning(
            "face_models/%s was adapted from a backbone (%.12s) that is not backbones/%s as it is now "
            "(%.12s); for the scores of the latter run: kedro run --pipelines=adapt,evaluate",
            name,
            provenance.start,
            name,
            backbone,
        )


def tabulate(verification: Verification, parameters: dict[str, Any]) -> pd.DataFrame:
    """One row per model, benchmark and metric, with what it must be read with."""
    from lafs_pipeline.evaluation.results import benchmark_table, frame_results
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.methods import in_order

    reference = parse(EvaluateSettings, parameters, "evaluate").reference_of(verification)
    results = {name: frame_results(verification[name]()) for name in in_order(verification)}
    return benchmark_table(results, reference)


def find_verdict(
    verification: Verification,
    backbones: Models,
    pairs: pd.DataFrame,
    shots: pd.DataFrame | None,
    checkpoints: str,
) -> str:
    """Whether pretraining helped, in a sentence for each comparison."""
    from lafs_pipeline.evaluation.results import frame_results
    from lafs_pipeline.reporting.verdict import answer_by_chance, verdict

    results = {name: frame_results(load()) for name, load in verification.items()}
    steps = steps_of(backbones, checkpoints)
    return "\n".join(verdict(results, shots, answer_by_chance(pairs), steps))


def steps_of(backbones: Models, checkpoints: str) -> dict[str, int]:
    """Of the pretraining that made each backbone, where it is known."""
    from lafs_pipeline.reporting.history import pretraining_steps

    origins = {name: getattr(load(), "provenance", None) for name, load in backbones.items()}
    trainings = {name: origin.training for name, origin in origins.items() if origin}
    return pretraining_steps(checkpoints, trainings)


def draw_roc(verification: Verification) -> "Figure":
    """ROC curves of the models, one panel per benchmark."""
    from lafs_pipeline.evaluation.results import frame_results
    from lafs_pipeline.models.methods import in_order
    from lafs_pipeline.reporting.roc import plot_roc
    from lafs_pipeline.reporting.tables import model_name

    return plot_roc(
        {model_name(name): frame_results(verification[name]()) for name in in_order(verification)}
    )
