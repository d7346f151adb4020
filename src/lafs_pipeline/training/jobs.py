"""A training, from its description to the trained model, in one process or many."""

import copy
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import LOADED_COLUMNS, fingerprint
from lafs_pipeline.faces.subsets import identity_labels
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.embedding import Embeddings
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.models.timm_model import FaceModel
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.files import held_alone
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings, given_ranks
from lafs_pipeline.runtime.metric_loggers import MetricLogger
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.checkpoints import load_finished
from lafs_pipeline.training.checkpoints.folders import configuration_digest
from lafs_pipeline.training.checkpoints.resume import choose_start
from lafs_pipeline.training.loading import Samples
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.monitoring.probes import identity_probe
from lafs_pipeline.training.sampling import StepBatches, plan_processes
from lafs_pipeline.training.self_supervised import (
    CachedLandmarks,
    PretrainSamples,
    PretrainSettings,
    SelfSupervisedStage,
)
from lafs_pipeline.training.settings import deciding_configuration
from lafs_pipeline.training.stage import Stage
from lafs_pipeline.training.supervised import (
    DrawLandmarks,
    RecognitionSamples,
    RecognitionSettings,
    RecognitionStage,
)
from lafs_pipeline.views.supervised import SupervisedAugmentation

DrawViews = Callable[[pd.DataFrame, LandmarkNetwork | None, PretrainSettings, int, int], np.ndarray]
"""Manifest, landmark network, recipe, seed and epoch -> picture (H, W, 3) uint8 RGB; can be pickled."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """Where a training writes and reports, and how many processes share it.

    Attributes:
        folder: in which every configuration has a folder with its checkpoints and metrics; its name is what
            people know the training as.
        seed: of every draw.
        loggers: receive the metrics live.
        launch: the processes.
        run_id: of the MLflow run, for the trained model; empty where nothing is tracked.
    """

    folder: Path
    seed: int
    loggers: Sequence[MetricLogger] = ()
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    run_id: str = ""


class Job(Protocol):
    """One training, as every process of it gets it; can be pickled.

    Attributes:
        name: of the stage.
        model: the start, with a `family` and `sizes`.
        manifest: the training faces.
        options: the recipe, with a `training`.
        context: where it runs.
        result: where the trained model stands among a checkpoint's weights.
    """

    name: str
    model: Any
    manifest: pd.DataFrame
    options: Any
    context: RunContext
    result: ClassVar[str]

    def stage(self) -> Stage:
        """What is trained, at its start."""

    def samples(self) -> Samples:
        """What it is trained on."""


@dataclass(frozen=True)
class PretrainJob:
    """One pretraining."""

    model: PartFViT | FViT
    manifest: pd.DataFrame
    options: PretrainSettings
    context: RunContext
    landmarks: CachedLandmarks | None
    draw: DrawViews | None = None
    name: ClassVar[str] = SelfSupervisedStage.name
    result: ClassVar[str] = "teacher.model."

    def stage(self) -> SelfSupervisedStage:
        """Student, teacher and center at the start."""
        plan, seed = _plan(self), self.context.seed
        torch.manual_seed(derive_seed(seed, self.name, "weights"))
        return SelfSupervisedStage(
            copy.deepcopy(self.model),
            self.options,
            plan.total_steps,
            plan.steps_per_epoch,
            identity_probe(self.manifest, self.options.probe_images, seed),
            None if self.draw is None else self._show_views,
        )

    def _show_views(self, epoch: int) -> np.ndarray:
        network = getattr(self.model, "landmark_network", None)
        return self.draw(self.manifest.head(1), network, self.options, self.context.seed, epoch)

    def samples(self) -> PretrainSamples:
        """The views of all faces."""
        on_device = processes.local_device().type == "cuda"
        return PretrainSamples(
            FaceImages(self.manifest), self.options, self.context.seed, on_device, self.landmarks
        )


@dataclass(frozen=True)
class RecognitionJob:
    """One supervised training."""

    name: str
    model: FaceModel
    manifest: pd.DataFrame
    options: RecognitionSettings
    context: RunContext
    reference: LandmarkNetwork | None
    draw: DrawLandmarks | None = None
    result: ClassVar[str] = "recognizer.model."

    def stage(self) -> RecognitionStage:
        """Model and class matrix at the start."""
        torch.manual_seed(derive_seed(self.context.seed, self.name, "weights"))
        return RecognitionStage(
            self.name,
            copy.deepcopy(self.model),
            len(identity_labels(self.manifest)[1]),
            self.options,
            copy.deepcopy(self.reference),
            identity_probe(self.manifest, self.options.probe_images, self.context.seed),
            self.draw,
        )

    def samples(self) -> RecognitionSamples:
        """All faces with their labels."""
        augmentation = SupervisedAugmentation(self.options.augmentation)
        labels, _ = identity_labels(self.manifest)
        return RecognitionSamples(FaceImages(self.manifest), labels, augmentation, self.context.seed)


def pretrain(
    model: PartFViT | FViT,
    manifest: pd.DataFrame,
    options: PretrainSettings,
    context: RunContext,
    landmarks: Embeddings | None = None,
    draw: DrawViews | None = None,
) -> PartFViT | FViT:
    """Pretrain a model's transformer on the training faces, without their labels.

    Args:
        model: the start; its landmark network, if any, stays frozen.
        manifest: the training faces; labeled ones among them serve the probe alone.
        options: the recipe.
        context: where it runs.
        landmarks: of the faces, from the landmarks pipeline; read where `options.landmarks` is cached.
        draw: draws the views of an epoch for the metric loggers; None shows none.

    Returns:
        The teacher's model, in eval mode on the CPU.

    Raises:
        LafsError: landmarks are to be cached, and some face has none.
    """
    cached = options.with_landmarks() and options.landmarks == "cached"
    found = CachedLandmarks.of(manifest, landmarks) if cached else None
    return train(PretrainJob(model, manifest, options, context, found, draw))


def train_recognition(
    name: str,
    model: FaceModel,
    manifest: pd.DataFrame,
    options: RecognitionSettings,
    context: RunContext,
    reference: LandmarkNetwork | None = None,
    draw: DrawLandmarks | None = None,
) -> FaceModel:
    """Train a face model end to end on labeled faces.

    Returns:
        The trained model, in eval mode on the CPU.
    """
    return train(RecognitionJob(name, model, manifest, options, context, reference, draw))


def train(job: Job) -> nn.Module:
    """Train in as many processes as wanted, and read the result from the checkpoint of the last step."""
    job = replace(job, manifest=job.manifest[LOADED_COLUMNS])
    checkpoint = load_finished(launch(train_alone, job, _planned(job)))
    model = copy.deepcopy(job.model)
    own = {name for name in checkpoint.weights if name.startswith(job.result)}
    model.load_state_dict({name.removeprefix(job.result): checkpoint.weights[name] for name in own})
    model.provenance = Provenance(
        training=configuration_digest(checkpoint.configuration),
        start=model_digest(job.model),
        run=checkpoint.extra.get("run", ""),
    )
    return model.eval()


def _planned(job: Job) -> LaunchSettings:
    """The launch with a number of processes that can share the batch."""
    wanted, training = job.context.launch, job.options.training
    if given_ranks() is not None:
        return wanted
    devices = max(1, torch.cuda.device_count())
    count = plan_processes(
        wanted.processes, devices, wanted.nodes, training.batch_size, training.accumulation
    )
    if wanted.processes == "auto" and count < devices:
        logger.info(
            "%s: %d of %d GPUs, the most that share a batch of %d evenly",
            job.context.folder.name,
            count,
            devices,
            training.batch_size,
        )
    return replace(wanted, processes=count)


def train_alone(job: Job) -> Path:
    """Train in this process, while no other training may use the folder, which is returned."""
    context, training, stage = job.context, job.options.training, job.stage()
    configuration = _configuration(job) if processes.is_main() else {}
    start = choose_start(context.folder, job.name, configuration, training.resume)
    run = Run(
        start.folder,
        context.seed,
        start.configuration,
        context.loggers,
        processes.local_device(),
        start.extended,
        context.run_id,
        context.folder.name,
    )
    with held_alone(run.folder) if processes.is_main() else nullcontext():
        Trainer(stage, job.samples(), training, run).train()
    return start.folder


def _configuration(job: Job) -> dict[str, Any]:
    """Everything that decides the result of a training, as JSON gives it back."""
    reference = getattr(job, "reference", None)
    return {
        "stage": job.name,
        "seed": job.context.seed,
        "settings": deciding_configuration(job.options),
        "model": {"family": job.model.family, **job.model.sizes, "weights": model_digest(job.model)},
        "data": fingerprint(job.manifest),
        "total_steps": _plan(job).total_steps,
    } | ({} if reference is None else {"landmark_network": model_digest(reference)})


def _plan(job: Job) -> StepBatches:
    training = job.options.training
    return StepBatches(
        len(job.manifest), training.batch_size, training.accumulation, training.epochs, job.context.seed
    )
