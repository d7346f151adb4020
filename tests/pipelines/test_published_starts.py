"""The published recipes start in every number of processes that `auto` gives; at tiny width, on a CPU."""

from dataclasses import replace

import pytest
from tests.pipelines.test_environments import parameters
from tests.training.small_trainings import SmallTraining, draw_faces, training_folder

from lafs_pipeline.pipelines.parameters import check
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.sampling import plan_processes

STARTS = {"pretrain": (1, 2, 4), "landmarks": (1, 2, 3, 4, 5, 6, 8)}
"""Processes on 1 to 8 devices; adaptation shares its batch as stage 1 does."""


def recipe(environment, stage):
    options = check(parameters(environment)[stage], stage)
    return options if stage == "pretrain" else options.recognition


@pytest.mark.parametrize("environment", ["webface4m", "ms1mv3"])
@pytest.mark.parametrize("stage", ["pretrain", "landmarks", "adapt"])
def test_every_number_of_processes_is_started_below(environment, stage):
    training = recipe(environment, stage).training
    shared = (training.batch_size, training.accumulation)
    planned = {plan_processes("auto", devices, 1, *shared) for devices in range(1, 9)}
    assert planned == set(STARTS["pretrain" if stage == "pretrain" else "landmarks"])


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=40, images=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "processes"), [(stage, count) for stage, counts in STARTS.items() for count in counts]
)
def test_a_published_recipe_starts(faces, tmp_path, stage, processes):
    options = recipe("webface4m", stage)
    training = replace(options.training, epochs=1, warmup_epochs=0, workers=0, log_every=1)
    options = replace(options, training=training, probe_images=0)
    if stage == "pretrain":
        views = replace(options.views, local_landmarks=4)
        options = replace(options, prototypes=24, head_hidden_dim=16, head_bottleneck_dim=8, views=views)

    class Published(SmallTraining):
        def options(self):
            return options

    context = RunContext(tmp_path, 0, launch=LaunchSettings(processes=processes))
    manifest = faces.head(training.batch_size)
    model = Published(stage, manifest).run(context)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    lines = (training_folder(tmp_path) / "metrics.jsonl").read_text().splitlines()
    assert len([line for line in lines if '"loss"' in line]) == 1
