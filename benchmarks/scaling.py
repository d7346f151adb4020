"""One and two processes at equal total work: pretraining of the tiny size, the same batches either way.

Every process has one thread, so that two processes use two cores and one uses one; a single process with
two threads stands beside them. Rates are medians of what the training logs; starting processes is not in
them.

    python -m benchmarks.scaling [--images 320] [--json]
"""

import argparse
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from benchmarks.gpu import pack_noise
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.self_supervised import PretrainSamples, PretrainSettings, SelfSupervisedStage

BATCH, EPOCHS = 16, 2


@dataclass(frozen=True)
class Work:
    manifest: pd.DataFrame
    folder: Path
    threads: int


def train(work: Work) -> None:
    """What every process does."""
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    options = PretrainSettings(prototypes=1024)
    training = replace(
        options.training, epochs=EPOCHS, batch_size=BATCH, warmup_epochs=0, log_every=4, workers=0
    )
    stage = SelfSupervisedStage(build_model("part_fvit_tiny_patch8_112", {}), options, 1000, 100, None)
    device = processes.local_device()
    samples = PretrainSamples(
        FaceImages(work.manifest), options, 0, on_device=device.type == "cuda", landmarks=None
    )
    Trainer(stage, samples, training, Run(work.folder, 0, {}, (), device)).train()


def rate(manifest: pd.DataFrame, folder: Path, count: int, threads: int) -> float:
    """Images a second over all processes."""
    launch(train, Work(manifest, folder, threads), LaunchSettings(processes=count))
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    return median(rates[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="end with the figures as one line of JSON")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    cases = {"one_process": (1, 1), "two_processes": (2, 1), "one_process_two_threads": (1, 2)}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    with TemporaryDirectory() as temporary:
        manifest = pack_noise(Path(temporary) / "noise.rec", arguments.images)
        for turn in range(arguments.rounds):
            for name, (count, threads) in cases.items():
                folder = Path(temporary) / f"{name}-{turn}"
                rates[name].append(rate(manifest, folder, count, threads))
    best = {name: max(values) for name, values in rates.items()}
    figures = {f"{name}_images_per_second": value for name, value in best.items()}
    figures["scaling"] = best["two_processes"] / best["one_process"]
    for name, value in figures.items():
        print(f"{name:44s}{value:8.2f}")
    if arguments.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
