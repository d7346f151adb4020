"""The recipes' settings, and the models and faces that they start from."""

import copy
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from lafs_pipeline.faces.manifest import TRAIN
from lafs_pipeline.faces.subsets import read_keys, select_shots
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT, build_model
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.recipes.settings import AdaptSettings, PretrainSettings, RecognitionSettings


def fresh_model(
    name: str, sizes: dict[str, Any], seed: int, network: LandmarkNetwork | None = None
) -> PartFViT:
    """A Part fViT with fresh weights, or with a given landmark network.

    Raises:
        LafsError: when the name is not a Part fViT's, a size is unknown, or the network does not fit.
    """
    torch.manual_seed(derive_seed(seed, "model"))
    rule = {} if network is None else {"landmark_coordinates": network.coordinates}
    model = build_model(name, sizes | rule)
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


def fresh_landmark_network(sizes: dict[str, Any], seed: int) -> LandmarkNetwork:
    """The landmark network that :func:`fresh_model` of the same seed has."""
    torch.manual_seed(derive_seed(seed, "model"))
    return LandmarkNetwork(**sizes)


def fresh_grid_model(name: str, sizes: dict[str, Any], seed: int) -> FViT:
    """The grid model whose transformer has the sizes of a Part fViT."""
    part = fresh_model(name, sizes, seed)
    torch.manual_seed(derive_seed(seed, "model"))
    return FViT(**grid_sizes(part.sizes))


def grid_sizes(sizes: dict[str, Any]) -> dict[str, Any]:
    """The sizes of a face model that do not speak of landmarks."""
    return {name: value for name, value in sizes.items() if "landmark" not in name}


def pretraining_start(
    name: str,
    sizes: dict[str, Any],
    seed: int,
    network: LandmarkNetwork | None,
    options: PretrainSettings,
) -> PartFViT | FViT:
    """The fresh model that a pretraining begins with: one with `network`, or one on the grid.

    Raises:
        LafsError: when the sizes do not fit, as :func:`fresh_model`, or LAFS has no network.
    """
    if not options.with_landmarks():
        return fresh_grid_model(name, sizes, seed)
    if network is None:
        raise LafsError("LAFS needs landmarks; first run: kedro run --pipelines=landmarks")
    return fresh_model(name, sizes, seed, network)


def forget_transformer(model: PartFViT | FViT, seed: int) -> PartFViT | FViT:
    """The same model with fresh transformer weights; a landmark network stays as it is."""
    torch.manual_seed(derive_seed(seed, "scratch"))
    blank = type(model)(**model.sizes)
    if isinstance(model, PartFViT):
        blank.landmark_network = copy.deepcopy(model.landmark_network)
    return blank


def choose_adaptation_faces(manifest: pd.DataFrame, options: AdaptSettings, seed: int) -> pd.DataFrame:
    """The labeled training faces that adaptation sees: k images of an identity, seeded."""
    keys = None if options.keys is None else read_keys(options.keys)
    train = manifest[manifest["split"] == TRAIN]
    return select_shots(train, options.shots, seed, options.identity_fraction, keys, options.min_images)


def fit_recognition(
    options: RecognitionSettings, images: int, steps: int | None = None
) -> RecognitionSettings:
    """A recipe for `images` images: batches no larger than those, and as many epochs as give `steps`.

    Args:
        options: the recipe.
        images: of the adaptation.
        steps: wanted; None keeps the epochs.
    """
    training = options.training
    batch_size = min(training.batch_size, images // training.accumulation * training.accumulation)
    epochs = training.epochs if steps is None else -(-steps // (images // batch_size))
    return replace(options, training=replace(training, batch_size=batch_size, epochs=epochs))
