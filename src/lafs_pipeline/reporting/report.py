"""The report of a run: one page that needs no other file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jinja2
import pandas as pd

from lafs_pipeline.evaluation.few_shot import FewShotResult
from lafs_pipeline.evaluation.hardest_pairs import FALSE_ACCEPT, FALSE_REJECT
from lafs_pipeline.evaluation.study import study_results
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.methods import leading
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.reporting import tables
from lafs_pipeline.reporting.curves import plot_metric
from lafs_pipeline.reporting.few_shot import plot_few_shot
from lafs_pipeline.reporting.history import History
from lafs_pipeline.reporting.landmarks import quality_sentence, quality_table
from lafs_pipeline.reporting.pictures import Picture, face_picture, png_picture, svg_picture
from lafs_pipeline.runtime.errors import LafsError

TEMPLATE = "report.html.j2"
STAGES = {
    "Landmarks": {"landmarks": "warps"},
    "Stage 1": {"stage1": "stage 1"},
    "Pretraining": {"pretrain_lafs": "LAFS", "pretrain_grid": "grid"},
    "Adaptation": {"adapt_lafs": "LAFS", "adapt_grid": "grid", "adapt_scratch": "scratch"},
}
CURVES = (
    # metric, title, factor, whether the axis starts at 0
    ("loss", "loss", 1, False),
    ("learning_rate", "learning rate", 1, True),
    ("distance_px", "distance of landmarks from their moved places, px", 1, True),
    ("teacher_entropy", "teacher entropy, nats", 1, True),
    ("knn_accuracy", "k-NN accuracy of the probe, %", 100, True),
)
ALT = {
    "landmark_overlay": "Training faces with the landmarks that are found on them",
    "view_montage": "The views of one training face, with the landmarks where patches are cut",
    "roc": "True accept rate over false accept rate of every model, one panel per benchmark",
    "attention_maps": "Faces with a dot at every token, larger and brighter where it gets more attention",
}
ERRORS = {
    FALSE_ACCEPT: ("Different people, accepted", "pairs of different people are accepted"),
    FALSE_REJECT: ("One person, rejected", "pairs of one person are rejected"),
}


@dataclass(frozen=True, eq=False)
class ReportData:
    """What the page is made of; what is None was not made."""

    facts: Mapping[str, str]
    model: PartFViT | FViT | None
    card: Mapping[str, Any]
    benchmarks: pd.DataFrame
    verdict: str
    hardest: pd.DataFrame
    disagreements: pd.DataFrame
    faces: pd.DataFrame
    pictures: Mapping[str, bytes]
    landmark_quality: pd.DataFrame | None
    histories: Mapping[str, History]
    study: Sequence[FewShotResult] | None
    chances: Mapping[str, float]
    parameters: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class HardPair:
    """One error as it is shown; templates have no fold."""

    first: Picture
    second: Picture
    keys: tuple[str, str]
    similarity: str
    threshold: str
    fold: str | None


def choose_study(runs: pd.DataFrame | None, faces: str, backbone: str) -> list[FewShotResult] | None:
    """The few-shot study's results; None where it has not run, or on other faces or another model.

    Raises:
        LafsError: the table is not one of the study pipeline.
    """
    if runs is None:
        return None
    try:
        same = (runs[["faces", "backbone"]] == [faces, backbone]).all(axis=None)
        return study_results(runs) if same else None
    except (ValueError, KeyError, TypeError) as error:
        raise LafsError(
            f"study_runs cannot be read as runs of the few-shot study: {error}. "
            "Remove its file, or make it anew: kedro run --pipelines=study"
        ) from error


def render_report(data: ReportData) -> str:
    """The page, HTML without scripts and with every picture inside; text from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lafs_pipeline", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    quality = data.landmark_quality
    page = environment.get_template(TEMPLATE).render(
        facts=data.facts,
        card=data.card,
        model_facts=_model_facts(data.model),
        verdict=data.verdict.splitlines(),
        headlines=tables.headline_table(data.benchmarks),
        data_tables=tables.data_tables(data.card),
        pictures={name: png_picture(png, ALT[name]) for name, png in data.pictures.items()},
        landmark_quality=None if quality is None else quality_table(quality),
        landmark_verdict=None if quality is None else quality_sentence(quality),
        trainings=tables.training_table(data.histories),
        curves=dict(_curves(data.histories)),
        scores=tables.score_tables(data.benchmarks),
        intervals=tables.interval_notes(data.benchmarks),
        flags=tables.flag_table(data.benchmarks),
        compared=tables.compared_table(data.benchmarks),
        models=tables.model_table(data.benchmarks),
        published=tables.PUBLISHED,
        study_tables=None if data.study is None else tables.few_shot_tables(data.study, data.seed),
        study_plot=None if data.study is None else _study_picture(data.study, data.chances),
        differences=tables.difference_table(data.benchmarks),
        hardest=_hardest(data.hardest, data.faces),
        disagreements=_disagreements(data.disagreements, data.faces),
        leading=tables.model_name(leading(data.benchmarks["model"]) or ""),
        errors=ERRORS,
        parameters=tables.parameter_table(data.parameters),
    )
    # A file name that is not UTF-8 reaches Python as lone surrogates, which no HTML file can hold.
    return page.encode("utf-8", "replace").decode("utf-8")


def _model_facts(model: PartFViT | FViT | None) -> dict[str, str]:
    if model is None:
        return {}

    def count(module: Any) -> str:
        return f"{sum(parameter.numel() for parameter in module.parameters()):,}"

    facts = {"transformer": f"{count(model.transformer)} parameters"}
    if isinstance(model, PartFViT):
        facts["landmark network"] = f"{count(model.landmark_network)} parameters"
    return facts | {
        name.replace("_", " "): f"{value:g}" if isinstance(value, int | float) else str(value)
        for name, value in model.sizes.items()
    }


def _curves(histories: Mapping[str, History]) -> Iterator[tuple[str, list[Picture]]]:
    """Pictures by stage; trainings that no stage knows stand for themselves."""
    known = {name for names in STAGES.values() for name in names}
    stages = STAGES | {name: {name: name} for name in histories if name not in known}
    for stage, names in stages.items():
        present = {label: histories[name] for name, label in names.items() if name in histories}
        pictures = [*_stage_curves(stage, present)]
        if pictures:
            yield stage, pictures


def _stage_curves(stage: str, histories: Mapping[str, History]) -> Iterator[Picture]:
    for metric, title, factor, from_zero in CURVES:
        found = {name: history.curve(metric) for name, history in histories.items()}
        curves = {name: (steps, factor * values) for name, (steps, values) in found.items() if len(steps)}
        if curves:
            limit = LIMITS[metric](histories) if metric in LIMITS else None
            figure = plot_metric(curves, title, limit, from_zero)
            yield svg_picture(figure, f"{stage}: {title} over optimizer steps")


def _uniform_entropy(histories: Mapping[str, History]) -> tuple[str, float] | None:
    """The line at log K, where all trainings have the same number K of prototypes."""
    found = {history.configuration.get("settings", {}).get("prototypes") for history in histories.values()}
    if len(found) != 1 or None in found:
        return None
    (prototypes,) = found
    return f"log K, K = {prototypes:,}", math.log(prototypes)


def _guessing(histories: Mapping[str, History]) -> tuple[str, float] | None:
    """The line of what guessing gets from the easiest of the trainings' probes."""
    levels = [values.max() for history in histories.values() if len(values := history.curve("knn_chance")[1])]
    return ("chance", 100 * max(levels)) if levels else None


LIMITS = {"teacher_entropy": _uniform_entropy, "knn_accuracy": _guessing}
"""What a metric is to be compared with."""


def _study_picture(study: Sequence[FewShotResult], chances: Mapping[str, float]) -> Picture:
    named = [replace(result, method=tables.model_name(result.method)) for result in study]
    return svg_picture(
        plot_few_shot(named, chances), "Accuracy over labeled images per identity, one line per method"
    )


def _hardest(hardest: pd.DataFrame, faces: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By benchmark and kind of error: how many there are, among how many pairs, and the worst."""
    pictures = _pictures(hardest, faces)
    benchmarks: dict[str, dict[str, Any]] = {}
    for (benchmark, error), rows in hardest.groupby(["benchmark", "error"], sort=False):
        pairs = [
            HardPair(
                pictures[row.key_a],
                pictures[row.key_b],
                (
                    _named(row.key_a, row.identity_a, row.images_a),
                    _named(row.key_b, row.identity_b, row.images_b),
                ),
                f"{row.similarity:.4f}",
                f"{row.threshold:.4f}",
                None if pd.isna(row.fold) else str(row.fold),
            )
            for row in rows.itertuples()
        ]
        total = {"errors": int(rows["errors"].iloc[0]), "pairs": int(rows["pairs"].iloc[0])}
        benchmarks.setdefault(benchmark, {})[error] = {**total, "worst": pairs}
    return benchmarks


def _disagreements(found: pd.DataFrame, faces: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """By benchmark: the two models, which one is right about how many pairs, and those farthest apart."""
    pictures = _pictures(found, faces)
    benchmarks: dict[str, list[dict[str, Any]]] = {}
    kinds = ["benchmark", "model", "right"]
    for (benchmark, model, right), rows in found.groupby(kinds, sort=False):
        wrong = rows["reference"].iloc[0] if right == model else model
        shown = [
            {
                "faces": (pictures[row.key_a], pictures[row.key_b]),
                "named": (row.key_a, row.key_b),
                "people": "one person" if row.is_same else "two people",
                "margins": (f"{row.margin_reference:+.4f}", f"{row.margin:+.4f}"),
            }
            for row in rows.itertuples()
        ]
        names = {"right": right, "wrong": wrong, "reference": rows["reference"].iloc[0], "model": model}
        entry = {name: tables.model_name(str(value)) for name, value in names.items()}
        benchmarks.setdefault(str(benchmark), []).append(
            entry | {"pairs": int(rows["pairs"].iloc[0]), "shown": shown}
        )
    return benchmarks


def _pictures(pairs: pd.DataFrame, faces: pd.DataFrame) -> dict[str, Picture]:
    """The faces of pairs (key_a, key_b), by key."""
    keys = pd.unique(pairs[["key_a", "key_b"]].to_numpy().ravel())
    shown = faces[faces["key"].isin(keys)]
    images = FaceImages(shown)
    return {key: face_picture(images[place], f"face {key}") for place, key in enumerate(shown["key"])}


def _named(key: str, identity: Any, images: int) -> str:
    """Key of a face, its identity where that is known and not in the key, and what it stands for."""
    named = key if pd.isna(identity) or str(identity) in key else f"{key} ({identity})"
    return named if images == 1 else f"{named}, one of {images:,} images of its template"
