"""Every environment of conf/ gives settings that the pipelines accept."""

from functools import cache
from pathlib import Path

import pytest

from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.pipelines.parameters import GROUPS, ModelSettings, check, parse
from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader
from lafs_pipeline.training.recipes.settings import (
    AdaptSettings,
    LandmarkSettings,
    PretrainSettings,
    RecognitionSettings,
)
from lafs_pipeline.training.sampling import StepBatches, plan_processes
from lafs_pipeline.views.parameters import AugmentationSettings

CONF = Path(__file__).parents[2] / "conf"


@cache
def parameters(environment):
    """Of `conf/`; not to be changed."""
    loader = ProjectConfigLoader(
        str(CONF), **CONFIG_LOADER_ARGS | {"default_run_env": "local"}, env=environment
    )
    return loader["parameters"]


ENVIRONMENTS = ["local", "smoke", "few_labels", "folder", "webface4m", "ms1mv3"]


def test_no_environment_is_left_out():
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {"base", *ENVIRONMENTS}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_group_is_accepted(environment):
    values = parameters(environment)
    parsed = {group: check(values[group], group) for group in GROUPS}
    model = build_model(parsed["model"].name, parsed["model"].sizes)
    kept = parsed["pretrain"].views.local_landmarks
    assert kept is None or kept < model.transformer.positions.shape[1]


@pytest.mark.parametrize("environment", ["webface4m", "ms1mv3"])
def test_the_published_recipes(environment):
    """The numbers of the papers, as they reach the code."""
    values = parameters(environment)
    pretrain = parse(PretrainSettings, values["pretrain"], "pretrain")
    assert pretrain == PretrainSettings(
        training=pretrain.training  # what is left is the default, which is the published recipe
    )
    assert pretrain.training.peak_learning_rate() == pytest.approx(5e-4 * 164 / 256)
    assert (pretrain.training.epochs, pretrain.training.warmup_epochs) == (41, 10)
    assert (pretrain.training.weight_decay, pretrain.training.final_weight_decay) == (0.04, 0.4)
    adapt = parse(AdaptSettings, values["adapt"], "adapt").recognition
    landmarks = parse(LandmarkSettings, values["landmarks"], "landmarks")
    assert landmarks.method == "identities"
    stage1 = landmarks.recognition
    assert stage1 == adapt
    magnitude, mixup = {"webface4m": (1.0, 0.1), "ms1mv3": (2.0, 0.2)}[environment]
    augmentation = AugmentationSettings(randaugment_magnitude=magnitude, mixup_probability=mixup)
    assert adapt == RecognitionSettings(layer_decay=1.0, augmentation=augmentation, training=adapt.training)
    assert adapt.training.peak_learning_rate() == pytest.approx(2.291e-3, rel=1e-3)
    assert (adapt.scale, adapt.margin) == (64.0, 0.4)
    assert (adapt.training.epochs, adapt.training.warmup_epochs) == (34, 5)
    model = parse(ModelSettings, values["model"], "model")
    built = build_model(model.name, model.sizes)
    assert round(sum(parameter.numel() for parameter in built.parameters()) / 1e6, 1) == 67.0
    catalog = parse(CatalogSettings, values["cataloging"], "cataloging")
    assert list(catalog.sources) == [environment]
    assert list(catalog.benchmarks) == ["lfw", "cfp_fp", "agedb_30", "calfw", "cplfw"]


@pytest.mark.parametrize("devices", range(1, 9))
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_training_can_be_shared_among_the_devices_that_there_are(environment, devices):
    values = parameters(environment)
    groups = {group: check(values[group], group) for group in GROUPS}
    assert groups["launch"].processes == "auto"
    recipes = (groups["landmarks"].recognition, groups["pretrain"], groups["adapt"].recognition)
    for training in (recipe.training for recipe in recipes):
        batch, accumulation = training.batch_size, training.accumulation
        count = plan_processes("auto", devices, 1, batch, accumulation)
        assert 1 <= count <= devices
        StepBatches(10 * batch, batch, accumulation, 1, 0, 0, count - 1, count)
