"""From faces and settings to a trained model: what a pipeline node or a script calls."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from lafs_pipeline.faces.card import fingerprint
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.faces.subsets import identity_labels, read_keys, select_shots
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT, build_model
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed, random_generator
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.runtime.sinks import MetricSink
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.precision import pick_device
from lafs_pipeline.training.probes import IdentityProbe
from lafs_pipeline.training.sampling import StepBatches
from lafs_pipeline.training.self_supervised import (
    PretrainSamples,
    PretrainSettings,
    SelfSupervisedStage,
    view_landmarks,
)
from lafs_pipeline.training.settings import deciding_configuration
from lafs_pipeline.training.supervised import RecognitionSamples, RecognitionSettings, RecognitionStage
from lafs_pipeline.views.montage import plot_views
from lafs_pipeline.views.normalise import to_input
from lafs_pipeline.views.render import LafsViews
from lafs_pipeline.views.supervised import SupervisedAugmentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@settings
class StageOneSettings:
    """Stage 1: the model that learns to find landmarks while it learns identities."""

    initial_weights: str | None = setting(
        "an authors' Part fViT checkpoint to take instead of training stage 1", None
    )
    recognition: RecognitionSettings = setting("how stage 1 is trained", RecognitionSettings())


@settings
class AdaptSettings:
    """Adaptation to few labels."""

    shots: int | None = setting("images an identity; null takes all", None, ge=1)
    identity_fraction: float = setting("part of the identities", 1.0, gt=0, le=1)
    min_images: int = setting("identities with fewer images are left out", 1, ge=1)
    keys: str | None = setting("text or Parquet file of manifest keys to choose from, instead of all", None)
    recognition: RecognitionSettings = setting("how the model is adapted", RecognitionSettings())


@dataclass(frozen=True)
class Workplace:
    """Where a training writes and reports.

    Attributes:
        folder: checkpoints and metrics.
        seed: of every draw.
        sinks: receive the metrics live.
    """

    folder: Path
    seed: int
    sinks: Sequence[MetricSink] = ()


def pretrain(
    model: PartFViT | FViT, manifest: pd.DataFrame, options: PretrainSettings, place: Workplace
) -> PartFViT | FViT:
    """Pretrain a model's transformer on the training faces, without their labels.

    Args:
        model: the start; its landmark network, if any, stays frozen.
        manifest: the training faces; labelled ones among them serve the probe alone.
        options: the recipe.
        place: where it runs.

    Returns:
        The teacher's model, in eval mode on the CPU.
    """
    faces = FaceImages(manifest)
    training = options.training
    plan = StepBatches(len(faces), training.batch_size, training.accumulation, training.epochs, place.seed)
    torch.manual_seed(derive_seed(place.seed, SelfSupervisedStage.name, "weights"))
    stage = SelfSupervisedStage(
        copy.deepcopy(model),
        options,
        plan.total_steps,
        plan.steps_per_epoch,
        _probe(manifest, options.probe_images, place.seed),
    )
    views = LafsViews(options.views, clean=options.tokens == "landmarks")
    samples = PretrainSamples(faces, views, place.seed)
    Trainer(stage, samples, training, _run(stage.name, options, model, manifest, place)).train()
    return stage.result().cpu()


def train_recognition(
    name: str,
    model: PartFViT | FViT,
    manifest: pd.DataFrame,
    options: RecognitionSettings,
    place: Workplace,
    reference: LandmarkNetwork | None = None,
) -> PartFViT | FViT:
    """Train a face model end to end on labelled faces.

    Args:
        name: of the stage.
        model: the start.
        manifest: the labelled training faces.
        options: the recipe.
        place: where it runs.
        reference: frozen landmark network that the landmarks stay near.

    Returns:
        The trained model, in eval mode on the CPU.
    """
    labels, names = identity_labels(manifest)
    torch.manual_seed(derive_seed(place.seed, name, "weights"))
    stage = RecognitionStage(
        name,
        copy.deepcopy(model),
        len(names),
        options,
        copy.deepcopy(reference),
        _probe(manifest, options.probe_images, place.seed),
    )
    samples = RecognitionSamples(
        FaceImages(manifest), labels, SupervisedAugmentation(options.augmentation), place.seed
    )
    Trainer(stage, samples, options.training, _run(name, options, model, manifest, place)).train()
    return stage.model.cpu()


def fresh_model(
    name: str, sizes: dict[str, int | float], seed: int, network: LandmarkNetwork | None = None
) -> PartFViT:
    """A Part fViT with fresh weights, or with a given landmark network.

    Raises:
        LafsError: when the name is not a Part fViT's, a size is unknown, or the network does not fit.
    """
    torch.manual_seed(derive_seed(seed, "model"))
    model = build_model(name, sizes)
    if not isinstance(model, PartFViT):
        raise LafsError(f"model.name is '{name}'; expected a part_fvit_* model, which has landmarks")
    if network is not None:
        if network.sizes != model.landmark_network.sizes:
            raise LafsError(
                f"the landmark network has {network.sizes} but the model asks for "
                f"{model.landmark_network.sizes}; set model.sizes to match, or run "
                "kedro run --pipelines=landmarks again"
            )
        model.landmark_network = copy.deepcopy(network)
    return model


def fresh_grid_model(name: str, sizes: dict[str, int | float], seed: int) -> FViT:
    """The grid model whose transformer has the sizes of a Part fViT."""
    part = fresh_model(name, sizes, seed)
    own = {
        size: value for size, value in part.sizes.items() if size not in ("num_landmarks", "landmark_width")
    }
    torch.manual_seed(derive_seed(seed, "model"))
    return FViT(**own)


def forget_transformer(model: PartFViT | FViT, seed: int) -> PartFViT | FViT:
    """The same model with fresh transformer weights; a landmark network stays as it is."""
    torch.manual_seed(derive_seed(seed, "scratch"))
    blank = type(model)(**model.sizes)
    if isinstance(model, PartFViT):
        blank.landmark_network = copy.deepcopy(model.landmark_network)
    return blank


def choose_adaptation_faces(manifest: pd.DataFrame, options: AdaptSettings, seed: int) -> pd.DataFrame:
    """The labelled training faces that adaptation sees: k images of an identity, seeded."""
    keys = None if options.keys is None else read_keys(options.keys)
    train = manifest[manifest["split"] == TRAIN]
    return select_shots(train, options.shots, seed, options.identity_fraction, keys, options.min_images)


def show_views(
    manifest: pd.DataFrame, network: LandmarkNetwork, options: PretrainSettings, seed: int
) -> "Figure":
    """The views of the first training face, with the landmarks, if any, at which patches are cut."""
    with_landmarks = options.tokens == "landmarks"
    draw = LafsViews(options.views, clean=with_landmarks)
    views = draw(FaceImages(manifest)[0], random_generator(seed, "views", 0, 0))
    if not with_landmarks:
        return plot_views(views)
    clean = (to_input(torch.from_numpy(copies)) for copies in (views.global_clean, views.local_clean))
    whole, local = view_landmarks(network.eval(), *clean, options.views, seed)
    return plot_views(views, chosen=[points.numpy() for points in (*whole, *local)])


def _run(name: str, options: Any, model: PartFViT | FViT, manifest: pd.DataFrame, place: Workplace) -> Run:
    configuration = {
        "stage": name,
        "seed": place.seed,
        "settings": deciding_configuration(options),
        "model": {"family": model.family, **model.sizes, "weights": _digest(model)},
        "data": fingerprint(manifest),
    }
    return Run(place.folder, place.seed, configuration, place.sinks, pick_device())


def _digest(model: torch.nn.Module) -> str:
    """A number that tells two sets of weights apart."""
    total = sum(float(value.double().abs().sum()) for value in model.state_dict().values())
    return f"{total:.10g}"


def _probe(manifest: pd.DataFrame, images: int, seed: int) -> IdentityProbe | None:
    """A probe on whole identities, drawn until there are `images` images."""
    labelled = manifest.dropna(subset=["identity"])
    counts = labelled["identity"].value_counts(sort=False)
    usable = np.sort(counts[counts > 1].index.to_numpy())
    if images == 0 or len(usable) < 2:
        return None
    order = random_generator(seed, "probe").permutation(usable)
    chosen = order[: max(2, int(np.searchsorted(counts[order].cumsum(), images, side="right")))]
    faces = labelled[labelled["identity"].isin(chosen)]
    return IdentityProbe(FaceImages(faces), identity_labels(faces)[0])
