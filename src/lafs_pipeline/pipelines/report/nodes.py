"""Nodes of the report pipeline."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from lafs_pipeline.pipelines.parameters import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lafs_pipeline.models.part_fvit import FViT, PartFViT


def find_hardest(
    model: "PartFViT | FViT",
    evaluate_parameters: dict[str, Any],
    report_parameters: dict[str, Any],
    launch: dict[str, Any],
    **tables: pd.DataFrame,
) -> pd.DataFrame:
    """The pairs that a model is most wrong about; `tables` are those that cataloging yields."""
    from lafs_pipeline.evaluation.evaluate import BenchmarkData
    from lafs_pipeline.evaluation.hardest_pairs import find_hardest_pairs
    from lafs_pipeline.evaluation.settings import EvaluateSettings
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.runtime.launch_settings import LaunchSettings

    return find_hardest_pairs(
        model,
        BenchmarkData(**tables),
        parse(EvaluateSettings, evaluate_parameters, "evaluate"),
        parse(LaunchSettings, launch, "launch"),
        parse(ReportSettings, report_parameters, "report").hardest_pairs,
    )


def draw_attention(
    model: "PartFViT | FViT", faces: pd.DataFrame, report_parameters: dict[str, Any]
) -> "Figure":
    """What a model looks at, on faces that it was not trained on."""
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.reporting.attention import show_attention

    return show_attention(model, faces, parse(ReportSettings, report_parameters, "report").attention_faces)


def write_report(
    face_model: "PartFViT | FViT",
    backbone: "PartFViT | FViT",
    dataset_card: dict[str, Any],
    benchmarks: pd.DataFrame,
    hardest: pd.DataFrame,
    faces: pd.DataFrame,
    landmark_overlay: bytes,
    view_montage: bytes,
    roc: bytes,
    attention_maps: bytes,
    checkpoints: str,
    seed: int,
    **parameters: Any,
) -> str:
    """The page; metrics of the trainings and the few-shot study are shown where they are found."""
    from lafs_pipeline.models.digest import model_digest
    from lafs_pipeline.pipelines.parameters import ReportSettings
    from lafs_pipeline.reporting.history import read_histories
    from lafs_pipeline.reporting.report import ReportData, read_study, render_report
    from lafs_pipeline.tracking.facts import run_facts

    options = parse(ReportSettings, parameters["report"], "report")
    trainings = [model.provenance.training for model in (face_model, backbone) if model.provenance]
    return render_report(
        ReportData(
            facts=run_facts(seed),
            model=face_model,
            card=dataset_card,
            benchmarks=benchmarks,
            hardest=hardest,
            faces=faces,
            pictures={
                "landmark_overlay": landmark_overlay,
                "view_montage": view_montage,
                "roc": roc,
                "attention_maps": attention_maps,
            },
            histories=read_histories(checkpoints, trainings),
            study=read_study(options.study_runs, dataset_card["fingerprint"], model_digest(backbone)),
            parameters=parameters,
            seed=seed,
        )
    )
