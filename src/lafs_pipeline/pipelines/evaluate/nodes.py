"""Nodes of the evaluate pipeline."""

import logging
from collections.abc import Callable
from dataclasses import replace
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
Verification = dict[str, Callable[[], pd.DataFrame]]

logger = logging.getLogger(__name__)


def verify_models(
    face_models: "Models",
    backbones: "Models",
    store: "EmbeddingStore",
    parameters: dict[str, Any],
    launch: dict[str, Any],
    seed: int,
    **tables: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Results of each face model and of each backbone as it is; `tables` are those that cataloging yields."""
    from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
    from lafs_pipeline.evaluation.results import results_frame
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.models.methods import FROZEN
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    data, options = BenchmarkData(**tables), parse(EvaluateSettings, parameters, "evaluate")
    launching = parse(LaunchSettings, launch, "launch")
    further = open_further(options, face_models)
    if not face_models and not backbones and not further:
        logger.warning("no model is there to be evaluated")
    found, digests = {}, {}
    for name, load in backbones.items():
        backbone = load()
        digests[name] = model_digest(backbone)
        results = evaluate_model(backbone, data, store, options, launching, seed)
        found[f"{name}{FROZEN}"] = results_frame(results)
    for name, load in face_models.items():
        model = load()
        _warn_of_another_start(name, model, digests.get(name))
        found[name] = results_frame(evaluate_model(model, data, store, options, launching, seed))
    for name, further_model in further.items():
        own = replace(options, flip=options.models[name].flips(options.flip))
        found[name] = results_frame(evaluate_model(further_model, data, store, own, launching, seed))
    return found


def open_further(options: "EvaluateSettings", face_models: Models) -> "dict[str, nn.Module | EmbeddingFile]":
    """The models of `evaluate.models`, opened before anything is computed.

    Raises:
        LafsError: one cannot be opened, or has the name of a face model of this project's.
    """
    from lafs_pipeline.interop.any_model import open_any

    if doubled := sorted(set(options.models) & set(face_models)):
        raise LafsError(f"evaluate.models has {', '.join(doubled)}, as 06_models/face_models; rename one")
    opened = {}
    for name, choice in options.models.items():
        try:
            opened[name] = open_any(choice)
        except LafsError as error:
            raise LafsError(f"evaluate.models.{name}: {error}") from error
    return opened


def _warn_of_another_start(name: str, model: "PartFViT | FViT", backbone: str | None) -> None:
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


def tabulate(verification: Verification) -> pd.DataFrame:
    """One row per model, benchmark and metric, with what it must be read with."""
    from lafs_pipeline.evaluation.results import benchmark_table, frame_results
    from lafs_pipeline.models.methods import in_order

    return benchmark_table({name: frame_results(verification[name]()) for name in in_order(verification)})


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
