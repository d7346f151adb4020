"""The few-shot study: ways of pretraining x shots x seeds, each adapted alike and benchmarked."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.evaluate import BenchmarkData, evaluate_model
from lafs_pipeline.evaluation.few_shot import FewShotResult
from lafs_pipeline.evaluation.settings import FROM_SCRATCH, EvaluateSettings, Method, StudySettings
from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.timm_model import FaceModel
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file
from lafs_pipeline.training.checkpoints import clear
from lafs_pipeline.training.checkpoints.folders import DIGITS, configuration_digest, own_folders
from lafs_pipeline.training.jobs import RunContext, train_recognition
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.recipes.starts import (
    AdaptSettings,
    choose_adaptation_faces,
    fit_recognition,
    forget_transformer,
    grid_sizes,
)
from lafs_pipeline.training.settings import deciding_configuration
from lafs_pipeline.training.supervised import DrawLandmarks

LISTS = ("fold_accuracy", "resampled")
"""Fields of a result with many numbers."""


@dataclass(frozen=True)
class StudyRun:
    """One adaptation."""

    method: Method
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """As in folders and in MLflow."""
        return f"{self.method}-{self.shots}shots-seed{self.seed}"


def plan_study(options: StudySettings) -> list[StudyRun]:
    """All runs; a seed and its shots are finished for all methods before the next begins."""
    return [
        StudyRun(method, shots, seed)
        for seed in options.seeds
        for shots in options.shots
        for method in options.methods
    ]


def pretraining_variants(options: PretrainSettings, study: StudySettings) -> dict[str, PretrainSettings]:
    """The pretrainings that `study.methods` start from, each of as many steps as LAFS.

    `lafs_no_noise` cuts patches exactly where landmarks are found. `lafs_all_landmarks` gives local views
    every landmark, in order, as global views have them: drawing all of them without replacement would still
    shuffle them. Its steps cost more.

    Raises:
        LafsError: when LAFS already lacks what an ablation leaves out.
    """
    recipes = replace(options, methods=("grid", "lafs")).recipes()
    lafs = recipes["lafs"]
    ablations = {
        "lafs_no_noise": replace(lafs, views=replace(lafs.views, landmark_sigma=0.0)),
        "lafs_all_landmarks": replace(lafs, views=replace(lafs.views, local_landmarks=None)),
    }
    for name, variant in ablations.items():
        if name in study.methods and variant == lafs:
            raise LafsError(
                f"study.methods has {name}, but pretrain.views already lacks what it leaves out; remove it, "
                "or set pretrain.views to that of LAFS"
            )
    return {name: recipe for name, recipe in (recipes | ablations).items() if name in study.methods}


@dataclass(frozen=True)
class Study:
    """What all runs share.

    Attributes:
        backbones: `scratch`, and by method what those that are not from scratch start from.
        data: training faces and benchmarks.
        adapt: the recipe; shots and seed come from the run.
        evaluate: how benchmarks are run.
        store: keeps the embeddings.
        context: the runs' parent folder, and processes.
        steps: of every adaptation; None keeps the recipe's epochs.
        draw: as in :func:`lafs_pipeline.training.jobs.train_recognition`.
    """

    backbones: Mapping[str, PartFViT | FViT]
    data: BenchmarkData
    adapt: AdaptSettings
    evaluate: EvaluateSettings
    store: EmbeddingStore
    context: RunContext
    steps: int | None
    draw: DrawLandmarks | None = None

    def folder(self, run: StudyRun) -> Path:
        """Of a run's trainings and results, by configuration."""
        return self.context.folder / run.name

    def start(self, run: StudyRun) -> PartFViT | FViT:
        """The model that a run adapts.

        Raises:
            LafsError: when its method has not been pretrained.
        """
        if run.method in FROM_SCRATCH:
            scratch = self.backbones["scratch"]
            like = scratch if run.method == "scratch" else FViT(**grid_sizes(scratch.sizes))
            return forget_transformer(like, run.seed)
        if run.method not in self.backbones:
            raise LafsError(f"{run.method} has not been pretrained; first run: kedro run --pipelines=study")
        return self.backbones[run.method]

    def configuration(self, run: StudyRun) -> dict[str, Any]:
        """Everything that decides a run's result."""
        values = {
            "run": asdict(run),
            "start": model_digest(self.start(run)),
            "data": fingerprint(self.data.faces),
            "flip": self.evaluate.flip,
        }
        if run.shots:
            adapt = asdict(replace(self.adapt, shots=run.shots))
            del adapt["probe_identities"], adapt["timm"]
            values |= {
                "adapt": adapt | {"recognition": deciding_configuration(self.adapt.recognition)},
                "steps": self.steps,
            }
        return json.loads(json.dumps(values))

    def finished(self, run: StudyRun) -> list[FewShotResult] | None:
        """The results of a run that was finished with the same configuration; None otherwise."""
        try:
            record = json.loads(self._result_file(run).read_text(encoding="utf-8"))
            if record["configuration"] != self.configuration(run):
                return None
            return _restored(record["results"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def execute(self, run: StudyRun, loggers: Sequence[Any]) -> list[FewShotResult]:
        """Adapt, if there are shots, and benchmark; one that broke off resumes.

        Its checkpoints are removed when the result is there.
        """
        model = self._adapt(run, loggers) if run.shots else copy.deepcopy(self.start(run))
        found = evaluate_model(
            model, self.data, self.store, self.evaluate, self.context.launch, self.context.seed
        )
        results = [
            FewShotResult(
                *astuple(run),
                result.name,
                tuple(map(float, result.fold_accuracy)),
                result.intervals["accuracy"].values if result.intervals else (),
            )
            for result in found
            if len(result.fold_accuracy)
        ]
        record = {"configuration": self.configuration(run), "results": [asdict(result) for result in results]}
        with whole_file(self._result_file(run)) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        if run.shots:
            clear(own_folders(self.folder(run), model.provenance.training)[-1])
        return results

    def _result_file(self, run: StudyRun) -> Path:
        """Beside the results of the same run in other configurations."""
        return self.folder(run) / f"result-{configuration_digest(self.configuration(run))[:DIGITS]}.json"

    def _adapt(self, run: StudyRun, loggers: Sequence[Any]) -> FaceModel:
        options = replace(self.adapt, shots=run.shots)
        context = replace(self.context, folder=self.folder(run), seed=run.seed, loggers=loggers)
        faces = choose_adaptation_faces(self.data.faces, options, run.seed)
        recipe = fit_recognition(options.recognition, len(faces), self.steps)
        start = self.start(run)
        near = getattr(start, "landmark_network", None)
        return train_recognition(run.name, start, faces, recipe, context, near, self.draw)


def study_frame(results: Sequence[FewShotResult], faces: str, backbone: str) -> pd.DataFrame:
    """One row a run and benchmark, with the accuracy of every fold and what all runs started from."""
    rows = [asdict(result) | {name: list(getattr(result, name)) for name in LISTS} for result in results]
    return pd.DataFrame(rows).assign(faces=faces, backbone=backbone)


def study_results(frame: pd.DataFrame) -> list[FewShotResult]:
    """The results of :func:`study_frame`."""
    names = [field.name for field in fields(FewShotResult)]
    return _restored(frame[names].to_dict("records"))


def _restored(rows: list[dict[str, Any]]) -> list[FewShotResult]:
    return [FewShotResult(**row | {name: tuple(row[name]) for name in LISTS}) for row in rows]
