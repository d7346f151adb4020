"""Images a second of every training, on a quiet machine and beside two busy processes.

    python -m benchmarks.contention [--seconds 5] [--recipes demo folder] [--json]

Stage 1 (by warps and by identities), pretraining and adaptation of the demo's recipe and of that for own
folders (`conf/`), on made-up faces, loader included, as `kedro run` would train them. Each trains for a few
seconds, first quiet, then beside two processes that only count; the first steps are left out.
"""

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

BUSY = 2
COUNT = [sys.executable, "-c", "while 1: pass"]
IDENTITIES, IMAGES, SHOTS = 120, 2400, 1200
LEFT_OUT = 2
ENVIRONMENTS = {"demo": "local", "folder": "folder"}


def read_recipe(name: str) -> dict[str, Any]:
    """The parameters of an environment; importing the project's settings comes before torch, as in Kedro."""
    from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader

    return ProjectConfigLoader("conf", env=ENVIRONMENTS[name], **CONFIG_LOADER_ARGS)["parameters"]


def make_jobs(
    parameters: dict[str, Any], folder: Path, seconds: float, batch_size: int | None = None
) -> dict[str, Any]:
    """The trainings of a recipe, each to be stopped after so many seconds."""
    from benchmarks.gpu import pack_noise
    from lafs_pipeline.pipelines.parameters import ModelSettings, parse, parse_landmarks, parse_pretraining
    from lafs_pipeline.training.jobs import PretrainJob, RecognitionJob, RunContext
    from lafs_pipeline.training.landmark_warps import LandmarkJob
    from lafs_pipeline.training.recipes.settings import AdaptSettings
    from lafs_pipeline.training.recipes.starts import fresh_model
    from lafs_pipeline.training.self_supervised import CachedLandmarks

    faces = pack_noise(folder / "faces.rec", IMAGES)
    numbers = np.arange(IMAGES)
    faces = faces.assign(identity=(numbers % IDENTITIES).astype(str), split="train", exact_hash=numbers)
    model = parse(ModelSettings, parameters["model"], "model")
    start = fresh_model(model.name, model.sizes, 0)
    free = fresh_model(model.name, model.sizes | {"landmark_coordinates": "free"}, 0).landmark_network
    landmarks = parse_landmarks(parameters["landmarks"], IMAGES)
    adapt = parse(AdaptSettings, parameters["adapt"], "adapt").recognition
    pretrain = parse_pretraining(parameters["pretrain"], IMAGES, start.landmark_network).recipes()["lafs"]
    points = np.random.default_rng(0).uniform(0, 111, (IMAGES, 4 * start.sizes["num_landmarks"]))
    found = CachedLandmarks(points.astype(np.float32), numbers) if pretrain.landmarks == "cached" else None

    def short(options: Any) -> Any:
        changes = {} if batch_size is None else {"batch_size": batch_size}
        training = replace(options.training, epochs=1000, log_every=1, max_minutes=seconds / 60, **changes)
        return replace(options, training=replace(training, resume="never"))

    def place(name: str) -> RunContext:
        return RunContext(folder / name, 0)

    warps, stage1 = short(landmarks.warps), short(replace(landmarks.recognition, probe_images=0))
    adapt, pretrain = (short(replace(options, probe_images=0)) for options in (adapt, pretrain))
    shots = faces.head(SHOTS)
    network = start.landmark_network
    return {
        "warps": LandmarkJob(free, faces, warps, place("warps")),
        "identities": RecognitionJob("stage1", start, faces, stage1, place("identities"), None),
        "pretraining": PretrainJob(start, faces, pretrain, place("pretraining"), found),
        "adaptation": RecognitionJob("adapt", start, shots, adapt, place("adaptation"), network),
    }


def images_per_second(job: Any) -> float:
    """Train until the time is over; images over seconds of all steps but the first."""
    from lafs_pipeline.runtime.errors import Stopped
    from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, read_metrics
    from lafs_pipeline.training.jobs import train

    before = set(job.context.folder.rglob(METRICS_FILE))
    with contextlib.suppress(Stopped):
        train(job)
    (path,) = set(job.context.folder.rglob(METRICS_FILE)) - before
    rates = [line["images_per_second"] for line in read_metrics(path)]
    rates = rates[min(LEFT_OUT, len(rates) - 1) :]
    return len(rates) / sum(1 / rate for rate in rates)


@contextlib.contextmanager
def busy_neighbors() -> Iterator[None]:
    """So many processes that take what they get of the processors."""
    others = [subprocess.Popen(COUNT) for _ in range(BUSY)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(recipes: list[str], seconds: float) -> dict[str, float]:
    figures = {}
    for recipe in recipes:
        parameters = read_recipe(recipe)
        with TemporaryDirectory() as name:
            for training, job in make_jobs(parameters, Path(name), seconds).items():
                quiet = images_per_second(job)
                with busy_neighbors():
                    busy = images_per_second(job)
                print(f"{recipe:8}{training:14}{quiet:8.1f}{busy:8.1f}{quiet / busy:8.2f}", flush=True)
                figures |= {f"{recipe}_{training}_quiet": quiet, f"{recipe}_{training}_busy": busy}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each training")
    parser.add_argument("--recipes", nargs="+", choices=ENVIRONMENTS, default=list(ENVIRONMENTS))
    parser.add_argument("--json", action="store_true", help="end with the figures as one line of JSON")
    arguments = parser.parse_args()
    print(f"{'recipe':8}{'training':14}{'quiet':>8}{'busy':>8}{'slower':>8}   images a second")
    figures = measure(arguments.recipes, arguments.seconds)
    if arguments.json:
        print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
