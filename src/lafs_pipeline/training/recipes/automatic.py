"""Settings that follow from the number of training images and of landmarks, where `auto` stands in `conf/`.

The published recipe is made for a million images and more; on thousands of them its prototypes and
temperatures stall. Sources: LightlyTrain's settings by data set size, for DINO; DINO (arXiv 2104.14294); LAFS
(arXiv 2403.08161), section 3.
"""

import math
from collections.abc import Mapping
from typing import Any

from lafs_pipeline.faces import FACE_SIZE

AUTO = "auto"

PROTOTYPES = ((20_000, 1024), (50_000, 2048), (100_000, 4096), (200_000, 16_384), (500_000, 32_768))
MOST_PROTOTYPES = 65_536
SMALL, LARGE = 20_000, 1_281_167
"""Images between which temperature and momentum change: a small set, and ImageNet."""
TEMPERATURES, MOMENTA = (0.02, 0.07), (0.99, 0.996)
LEAST_STEPS, LANDMARK_STEPS = 2000, 2500
LEAST_EPOCHS, MOST_EPOCHS = 10, 100
WARM_UP, TEMPERATURE_WARM_UP = 0.1, 0.3
"""Shares of the training."""
FROZEN_STEPS = 1250
"""Steps in which the prototypes stay as they are, at most: an epoch of ImageNet."""
LOCAL_SHARE = 1 / 4
SIGMA, SIGMA_BY_SPACING = 5.0, 0.6
"""The published noise in pixels, and its largest share of the distance between neighboring landmarks."""


def automatic_pretraining(
    images: int, landmarks: int, batch_size: int, epochs: int | None = None
) -> dict[str, Any]:
    """Settings of a pretraining, by their names below `pretrain`.

    Args:
        images: of the training.
        landmarks: of the model.
        batch_size: images per step.
        epochs: of the training, where they are given.
    """
    epochs = epochs or epochs_for(images, batch_size, LEAST_STEPS, LEAST_EPOCHS)
    steps_per_epoch = max(1, images // batch_size)
    share = min(1.0, max(0.0, math.log(images / SMALL) / math.log(LARGE / SMALL)))
    temperature = round(_between(TEMPERATURES, share), 4)
    spacing = FACE_SIZE / math.ceil(math.sqrt(landmarks))
    return {
        "prototypes": next((count for limit, count in PROTOTYPES if images <= limit), MOST_PROTOTYPES),
        "teacher_temperature_start": min(temperature, 0.04),
        "teacher_temperature": temperature,
        "teacher_temperature_epochs": int(TEMPERATURE_WARM_UP * epochs),
        "teacher_momentum": round(_between(MOMENTA, share), 4),
        "freeze_last_layer_epochs": min(1, FROZEN_STEPS // steps_per_epoch, int(WARM_UP * epochs)),
        "views.local_landmarks": max(1, round(LOCAL_SHARE * landmarks)),
        "views.landmark_sigma": round(min(SIGMA, SIGMA_BY_SPACING * spacing), 2),
        "training.epochs": epochs,
        "training.warmup_epochs": round(WARM_UP * epochs, 2),
    }


def automatic_landmarks(images: int, batch_size: int) -> dict[str, Any]:
    """Settings of a landmark network that learns from warps, by their names below `landmarks`."""
    epochs = epochs_for(images, batch_size, LANDMARK_STEPS, 1)
    return {"warps.training.epochs": epochs, "warps.training.warmup_epochs": round(WARM_UP / 2 * epochs, 2)}


def epochs_for(images: int, batch_size: int, steps: int, least: int) -> int:
    """Epochs that give `steps` steps, from `least` to 100."""
    wanted = math.ceil(steps / max(1, images // batch_size))
    return min(MOST_EPOCHS, max(least, wanted))


def filled(parameters: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters with values in place of `auto`.

    Args:
        parameters: nested, as in `conf/`.
        values: by dotted name.

    Returns:
        The parameters, and those of the values that were put in. An `auto` for which there is no value stays.
    """
    full, used = dict(parameters), {}
    for name, value in values.items():
        *groups, last = name.split(".")
        if _at(full, groups).get(last) != AUTO:
            continue
        place = full
        for group in groups:
            place[group] = dict(place[group])
            place = place[group]
        place[last], used[name] = value, value
    return full, used


def given(parameters: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted name; None where it is absent or `auto`."""
    *groups, last = name.split(".")
    value = _at(parameters, groups).get(last)
    return None if value == AUTO else value


def _at(parameters: Mapping[str, Any], groups: list[str]) -> Mapping[str, Any]:
    for group in groups:
        parameters = parameters.get(group) or {}
        if not isinstance(parameters, Mapping):
            return {}
    return parameters


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])
