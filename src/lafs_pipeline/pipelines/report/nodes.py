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
) -> pd.DataFrame:
    """The pairs that the leading model is most wrong about; `tables` are those that cataloging yields."""
    from lafs_pipeline.evaluation.evaluate import BenchmarkData
    from lafs_pipeline.evaluation.hardest_pairs import find_hardest_pairs, no_pairs
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.models.methods import leading
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    models = backbones | face_models
    name = leading(models)
    if name is None:
        return no_pairs()
    return find_hardest_pairs(
        models[name](),
        BenchmarkData(**tables),
        store,
        parse(EvaluateSettings, evaluate_parameters, "evaluate"),
        parse(LaunchSettings, launch, "launch"),
        parse(ReportSettings, report_parameters, "report").hardest_pairs,
    )


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
    faces: pd.DataFrame,
    pairs: pd.DataFrame,
    landmark_overlay: bytes | None,
    view_montage: bytes,
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
    return render_report(
        ReportData(
            facts=run_facts(seed),
            model=model,
            card=dataset_card,
            benchmarks=benchmarks,
            verdict=verdict,
            hardest=hardest,
            faces=faces,
            pictures=({} if landmark_overlay is None else {"landmark_overlay": landmark_overlay})
            | {
                "view_montage": view_montage,
                "roc": roc,
                "attention_maps": attention_maps,
            },
            landmark_quality=landmark_quality,
            histories=read_histories(checkpoints, [origin.training for origin in origins if origin]),
            study=study,
            chances=chances,
            parameters=parameters,
            seed=seed,
        )
    )
