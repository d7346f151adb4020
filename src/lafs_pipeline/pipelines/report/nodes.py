"""Nodes of the report pipeline."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.evaluation.embeddings import EmbeddingStore
    from lafs_pipeline.models.part_fvit import FViT, PartFViT

    Models = dict[str, Callable[[], PartFViT | FViT]]


def find_hardest(
    face_models: "Models",
    backbones: "Models",
    store: "EmbeddingStore",
    evaluate_parameters: dict[str, Any],
    report_parameters: dict[str, Any],
    launch: dict[str, Any],
    **tables: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs that the leading model is most wrong about, and those that models decide differently.

    Embeddings that the evaluation has kept are read again; `tables` are those that cataloging yields.
    """
    from lafs_pipeline.evaluation.disagreements import find_disagreements
    from lafs_pipeline.evaluation.evaluate import BenchmarkData, embed_benchmarks
    from lafs_pipeline.evaluation.hardest_pairs import find_hardest_pairs
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.methods import leading
    from lafs_pipeline.pipelines.evaluate.nodes import compared_models
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    options = parse(EvaluateSettings, evaluate_parameters, "evaluate")
    launching = parse(LaunchSettings, launch, "launch")
    count = parse(ReportSettings, report_parameters, "report").hardest_pairs
    data, models = BenchmarkData(**tables), compared_models(face_models, backbones, options)
    found = {}
    for name, load in models.items():
        found[name] = embed_benchmarks(load(), data, store, options.of(name), launching)[1]
    name = leading(models)
    hardest = find_hardest_pairs({} if name is None else found[name], data, options, count)
    return hardest, find_disagreements(data.pairs, found, options.reference_of(models) or "", count)


def draw_attention(
    face_models: "Models", backbones: "Models", faces: pd.DataFrame, report_parameters: dict[str, Any]
) -> "Figure":
    """What the leading model looks at, on faces that it was not trained on."""
    from lafs_pipeline.models.methods import leading
    from lafs_pipeline.models.part_fvit import FViT, PartFViT
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.reporting.attention import show_attention
    from lafs_pipeline.reporting.curves import plot_nothing

    options, models = parse(ReportSettings, report_parameters, "report"), backbones | face_models
    name = leading(models)
    model = None if name is None else models[name]()
    if not isinstance(model, PartFViT | FViT):
        return plot_nothing("no face model of this project")
    return show_attention(model, faces, options.attention_faces)


def write_report(
    face_models: "Models",
    backbones: "Models",
    dataset_card: dict[str, Any],
    benchmarks: pd.DataFrame,
    verdict: str,
    hardest: pd.DataFrame,
    disagreements: pd.DataFrame,
    faces: pd.DataFrame,
    pairs: pd.DataFrame,
    landmark_overlay: bytes | None,
    view_montage: bytes | None,
    roc: bytes,
    attention_maps: bytes,
    landmark_quality: pd.DataFrame | None,
    study_runs: pd.DataFrame | None,
    checkpoints: str,
    seed: int,
    **parameters: Any,
) -> str:
    """The page; metrics of the trainings and the few-shot study are shown where they are found."""
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.models.methods import leading, leading_pretrained
    from lafs_pipeline.pipelines.evaluate.nodes import steps_of
    from lafs_pipeline.reporting.history import read_histories
    from lafs_pipeline.reporting.report import ReportData, choose_study, render_report
    from lafs_pipeline.reporting.verdict import answer_by_chance, study_verdict
    from lafs_pipeline.tracking.facts import run_facts

    models, starts = backbones | face_models, {name: load() for name, load in backbones.items()}
    name = leading(models)
    model = None if name is None else models[name]()
    origins = [model.provenance for model in (model, *starts.values()) if model is not None]
    pretrained = leading_pretrained(starts)
    study_start = "" if pretrained is None else model_digest(starts[pretrained])
    chances = answer_by_chance(pairs)
    study = choose_study(study_runs, dataset_card["fingerprint"], study_start)
    if study is not None:
        told = study_verdict(study, seed, chances, steps_of(backbones, checkpoints))
        verdict = "\n".join([verdict, *told])
    pictures = {
        "landmark_overlay": landmark_overlay,
        "view_montage": view_montage,
        "roc": roc,
        "attention_maps": attention_maps,
    }
    return render_report(
        ReportData(
            facts=run_facts(seed),
            model=model,
            card=dataset_card,
            benchmarks=benchmarks,
            verdict=verdict,
            hardest=hardest,
            disagreements=disagreements,
            faces=faces,
            pictures={name: picture for name, picture in pictures.items() if picture is not None},
            landmark_quality=landmark_quality,
            histories=read_histories(checkpoints, [origin.training for origin in origins if origin]),
            study=study,
            chances=chances,
            parameters=parameters,
            seed=seed,
        )
    )
