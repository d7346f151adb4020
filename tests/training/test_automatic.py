"""What `auto` stands for."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.pipelines.parameters import parse_pretraining
from lafs_pipeline.training.recipes.automatic import automatic_landmarks, automatic_pretraining, filled


@pytest.mark.parametrize(
    ("images", "prototypes"),
    [(3_000, 1024), (20_000, 1024), (24_057, 2048), (100_000, 4096), (200_000, 16_384), (4_200_000, 65_536)],
)
def test_prototypes_by_number_of_images(images, prototypes):
    assert automatic_pretraining(images, 49, 64)["prototypes"] == prototypes


def test_a_small_set_has_a_cold_quick_teacher_and_a_large_one_dinos():
    small, large = (automatic_pretraining(images, 196, 64) for images in (6_000, 2_000_000))
    assert (small["teacher_temperature_start"], small["teacher_temperature"]) == (0.02, 0.02)
    assert small["teacher_momentum"] == 0.99
    assert (large["teacher_temperature_start"], large["teacher_temperature"]) == (0.04, 0.07)
    assert large["teacher_momentum"] == 0.996


@pytest.mark.parametrize(("images", "epochs"), [(6_057, 22), (24_057, 10), (1_000_000, 10), (100, 100)])
def test_epochs_give_two_thousand_steps_within_bounds(images, epochs):
    assert automatic_pretraining(images, 49, 64)["training.epochs"] == epochs


def test_the_noise_keeps_to_the_distance_between_landmarks():
    sigmas = {
        count: automatic_pretraining(10_000, count, 64)["views.landmark_sigma"] for count in (49, 196, 784)
    }
    assert sigmas == {49: 5.0, 196: 4.8, 784: 2.4}


@settings(max_examples=60, deadline=None)
@given(images=st.integers(64, 50_000_000), landmarks=st.integers(1, 784), batch=st.integers(1, 64))
def test_every_resolved_recipe_is_one_that_the_settings_take(images, landmarks, batch):
    values = automatic_pretraining(images, landmarks, batch)
    network = SimpleNamespace(sizes={"num_landmarks": landmarks})
    parameters = {
        "training": {"batch_size": batch, "epochs": "auto", "warmup_epochs": "auto"},
        "views": {"local_landmarks": "auto", "landmark_sigma": "auto"},
        **{name: "auto" for name in values if "." not in name},
    }
    recipe = parse_pretraining(parameters, images, network)
    assert recipe.views.local_landmarks <= landmarks
    assert recipe.teacher_temperature_epochs <= 0.3 * recipe.training.epochs
    assert recipe.training.warmup_epochs <= 0.1 * recipe.training.epochs + 0.01
    assert recipe.freeze_last_layer_epochs * (images // batch) <= 1250


def test_given_epochs_decide_what_is_measured_in_epochs():
    parameters = {"training": {"batch_size": 64, "epochs": 40, "warmup_epochs": "auto"}}
    recipe = parse_pretraining(parameters, 6_000, None)
    assert (recipe.training.epochs, recipe.training.warmup_epochs) == (40, 4.0)


def test_only_auto_is_replaced_and_the_parameters_stay():
    parameters = {"warps": {"training": {"epochs": "auto", "warmup_epochs": 0.5, "batch_size": 64}}}
    full, used = filled(parameters, automatic_landmarks(6_000, 64))
    assert full["warps"]["training"] == {"epochs": 27, "warmup_epochs": 0.5, "batch_size": 64}
    assert used == {"warps.training.epochs": 27}
    assert parameters["warps"]["training"]["epochs"] == "auto"
