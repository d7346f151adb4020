"""Every stage on a few drawn faces, small enough to be trained again and again."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.reporting.landmarks import landmarks_picture
from lafs_pipeline.reporting.views import views_picture
from lafs_pipeline.runtime.metric_loggers import MetricLogger
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.folders import find_trainings
from lafs_pipeline.training.jobs import PretrainJob, RecognitionJob, RunContext, pretrain, train_recognition
from lafs_pipeline.training.recipes.settings import PretrainSettings, RecognitionSettings
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.views.parameters import ViewSettings

STAGES = ("landmarks", "pretrain", "adapt")
SEED = 3
TIMES = ("time_ms", "images_per_second", "loader_share")
SIZES = {
    "num_landmarks": 9,
    "patch_size": 16,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
    "landmark_width": 0.25,
}
TRAINING = TrainingSettings(
    epochs=2,
    batch_size=8,
    learning_rate=2e-3,
    reference_batch=8,
    warmup_epochs=0.5,
    workers=0,
    log_every=1,
    checkpoint_every=2,
)


def draw_faces(folder: Path, identities: int = 8, images: int = 4) -> pd.DataFrame:
    """The manifest of faces that are drawn into `folder`."""
    source = SourceSettings(kind="synthetic", identities=identities, images_per_identity=images)
    settings = CatalogSettings(sources={"drawn": source}, threads=1)
    return catalog_faces(settings, SEED, folder / "stores").manifest


@dataclass(frozen=True)
class SmallTraining:
    """One stage with its model and its settings.

    Attributes:
        stage: one of :data:`STAGES`.
        manifest: the faces.
        training: changes to the schedule.
        objective: changes to the stage's other settings.
        sizes: changes to the model's sizes.
        random_layers: whether dropout and stochastic depth are active.
        probe_images: of the k-NN probe.
    """

    stage: str
    manifest: pd.DataFrame
    training: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    random_layers: bool = True
    probe_images: int = 0

    def model(self, seed: int = 0) -> PartFViT:
        """The start."""
        torch.manual_seed(seed)
        off = {} if self.random_layers else {"dropout": 0.0, "drop_path": 0.0}
        model = PartFViT(**{**SIZES, **off, **self.sizes})
        if not self.random_layers:
            model.landmark_network.dropout.p = 0.0
        return model

    def options(self) -> PretrainSettings | RecognitionSettings:
        """The recipe."""
        if self.stage == "pretrain":
            options = PretrainSettings(
                views=ViewSettings(local_views=2, local_landmarks=4),
                prototypes=24,
                head_hidden_dim=16,
                head_bottleneck_dim=8,
            )
        else:
            options = RecognitionSettings(scale=16.0, layer_decay=0.58 if self.stage == "adapt" else 1.0)
        training = replace(TRAINING, **self.training)
        return replace(options, training=training, probe_images=self.probe_images, **self.objective)

    def job(self, place: RunContext) -> PretrainJob | RecognitionJob:
        """What each of its processes runs."""
        if self.stage == "pretrain":
            return PretrainJob(self.model(), self.manifest, self.options(), place, None, views_picture)
        return RecognitionJob(
            self.stage,
            self.model(),
            self.manifest,
            self.options(),
            place,
            self._reference(),
            landmarks_picture,
        )

    def run(self, place: RunContext) -> PartFViT:
        """Train as a node of the pipeline does."""
        if self.stage == "pretrain":
            return pretrain(self.model(), self.manifest, self.options(), place, draw=views_picture)
        return train_recognition(
            self.stage,
            self.model(),
            self.manifest,
            self.options(),
            place,
            self._reference(),
            landmarks_picture,
        )

    def _reference(self):
        return self.model(seed=1).landmark_network if self.stage == "adapt" else None


class SlowLogger(MetricLogger):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        time.sleep(self.seconds)


def training_folder(parent: Path) -> Path:
    """The folder of the newest training in `parent`; `parent` itself where there is none yet."""
    found = find_trainings(parent)
    return found[-1].path if found else parent


def curve(folder: Path) -> list[dict[str, float]]:
    """All logged metrics of the newest training, but those that tell of time."""
    path = training_folder(folder) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def losses(folder: Path) -> dict[int, float]:
    """The loss of every step."""
    return {line["step"]: line["loss"] for line in curve(folder) if "loss" in line}


def difference(folder: Path, other: Path) -> str | None:
    """What tells the newest checkpoints and the metrics of two trainings apart; None where nothing does."""
    mine, theirs = (checkpoints.load_latest(training_folder(path)) for path in (folder, other))
    found = _difference(_content(mine), _content(theirs), "checkpoint")
    return found or _difference(curve(folder), curve(other), "metrics")


def _content(checkpoint: Checkpoint | None) -> dict[str, Any]:
    return {} if checkpoint is None else dict(vars(checkpoint))


def _difference(mine: Any, theirs: Any, name: str) -> str | None:
    if type(mine) is not type(theirs):
        return f"{name}: {mine!r} and {theirs!r}"
    if isinstance(mine, torch.Tensor):
        return None if torch.equal(mine, theirs) else f"{name}: largest difference {_largest(mine, theirs)}"
    if isinstance(mine, list):
        mine, theirs = dict(enumerate(mine)), dict(enumerate(theirs))
    if isinstance(mine, dict):
        if mine.keys() != theirs.keys():
            return f"{name} has {list(mine)} and {list(theirs)}"
        found = (_difference(mine[key], theirs[key], f"{name}.{key}") for key in mine)
        return next(filter(None, found), None)
    return None if mine == theirs else f"{name}: {mine!r} and {theirs!r}"


def _largest(mine: torch.Tensor, theirs: torch.Tensor) -> str:
    if mine.shape != theirs.shape:
        return f"of the shapes {tuple(mine.shape)} and {tuple(theirs.shape)}"
    return f"{float((mine.double() - theirs.double()).abs().max()):.3g}"
