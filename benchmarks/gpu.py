"""Trainings of full size as they run: images a second, MFU, waiting, memory, hours of the paper's own.

Every case is a training by the package's Trainer, with its loader, metrics and checkpoint, on made-up faces.
Its first half warms up (compilation, allocator, loader), the second is measured. A row is printed as soon as
it is known. Without a GPU the same code runs on the CPU.

    python -m benchmarks.gpu [--stages pretrain adapt] [--modes eager compiled] [--batch-sizes 64 128]
"""

import argparse
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import PartFViT, build_model
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.errors import WorkerFailed
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE, MetricLogger, read_metrics
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.self_supervised import PretrainSamples, PretrainSettings, SelfSupervisedStage
from lafs_pipeline.training.supervised import RecognitionSamples, RecognitionSettings, RecognitionStage
from lafs_pipeline.views.supervised import SupervisedAugmentation

STAGES = ("pretrain", "adapt")
IMAGES = 2048
CLASSES = 93_431
"""Of MS1MV3, which the paper adapts to."""
PAPER_IMAGES, PAPER_EPOCHS = 1_000_000, 41
OUT_OF_MEMORY = "out of memory"
COLUMNS = {
    "stage": "{:>10}",
    "gpus": "{:>6}",
    "batch": "{:>7}",
    "precision": "{:>11}",
    "mode": "{:>10}",
    "images_per_second": "{:>19.1f}",
    "mfu": "{:>7.3f}",
    "loader_share": "{:>14.3f}",
    "peak_memory_gb": "{:>16.1f}",
    "warm_up_seconds": "{:>17.1f}",
    "checkpoint_seconds": "{:>20.1f}",
    "paper_hours": "{:>13.1f}",
}


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        batch: images that one process computes at once.
    """

    stage: str
    batch: int
    precision: str
    mode: str
    gpus: int = 1
    model: str = "part_fvit_base_patch8_112"
    prototypes: int = 100_000
    classes: int = CLASSES
    steps: int = 10
    workers: int = 0


def pack_noise(path: Path, images: int) -> pd.DataFrame:
    """Smooth noise as JPEG records, with the columns of a manifest that the loader reads."""
    generator = np.random.default_rng(0)
    with RecordIOWriter(path) as writer:
        offsets = []
        for index in range(images):
            noise = generator.integers(0, 256, (14, 14, 3), dtype=np.uint8)
            picture = cv2.resize(noise, (112, 112), interpolation=cv2.INTER_CUBIC)
            offsets.append(writer.write_image(index, cv2.imencode(".jpg", picture)[1].tobytes(), 0.0))
    rows = {"key": [f"noise/{index}" for index in range(images)], "offset": offsets, "record": range(images)}
    return pd.DataFrame(rows | {"store": str(path), "channel_order": "rgb"})


def make_trainer(
    case: Case,
    manifest: pd.DataFrame,
    folder: Path,
    loggers: tuple[MetricLogger, ...] = (),
    log_every: int = 0,
) -> Trainer:
    """A training of `2 * case.steps` steps, the published recipe but for its length."""
    torch.manual_seed(0)
    device, batch = processes.local_device(), case.batch * processes.world_size()
    faces = FaceImages(manifest.sample(2 * case.steps * batch, replace=True, random_state=0))
    schedule: dict[str, Any] = {
        "epochs": 1,
        "batch_size": batch,
        "accumulation": 1,
        "precision": case.precision,
        "compile": case.mode == "compiled",
        "workers": case.workers // processes.world_size(),
        "log_every": log_every or case.steps,
        "warmup_epochs": 0,
    }
    model = build_model(case.model, {})
    if case.stage == "pretrain":
        options = PretrainSettings(prototypes=case.prototypes)
        stage = SelfSupervisedStage(model, options, 2 * case.steps, 2 * case.steps, None)
        samples = PretrainSamples(faces, options, 0, on_device=device.type == "cuda", landmarks=None)
    else:
        options = RecognitionSettings()
        reference = LandmarkNetwork(**model.landmark_network.sizes) if isinstance(model, PartFViT) else None
        stage = RecognitionStage(case.stage, model, case.classes, options, reference, None)
        labels = np.random.default_rng(0).integers(0, case.classes, len(faces))
        samples = RecognitionSamples(faces, labels, SupervisedAugmentation(options.augmentation), 0)
    run = Run(folder, 0, {}, loggers, device)
    return Trainer(stage, samples, replace(options.training, **schedule), run)


@dataclass(frozen=True)
class Work:
    """What every process of a case gets."""

    case: Case
    manifest: pd.DataFrame
    folder: Path


def train(work: Work) -> dict[str, float]:
    """Train in this process; returns what the Trainer logged of the second half."""
    trainer = make_trainer(work.case, work.manifest, work.folder)
    start = time.time()
    trainer.train()
    end = time.time()
    if not processes.is_main():
        return {}
    first, last = (line for line in read_metrics(work.folder / METRICS_FILE) if "loss" in line)
    values = {name: last[name] for name in COLUMNS if name in last}
    values["warm_up_seconds"] = first["time_ms"] / 1000 - start
    values["checkpoint_seconds"] = end - last["time_ms"] / 1000
    if work.case.stage == "pretrain":
        values["paper_hours"] = PAPER_IMAGES * PAPER_EPOCHS / last["images_per_second"] / 3600
    return values


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Every precision and mode at the first batch size; the others with the last precision and mode."""
    gpus = [count for count in (1, 2, 4, 8) if count <= max(1, torch.cuda.device_count())]
    sizes = {
        name: getattr(arguments, name) for name in ("model", "prototypes", "classes", "steps", "workers")
    }
    first, *others = arguments.batch_sizes
    for precision, mode, stage in product(arguments.precisions, arguments.modes, arguments.stages):
        yield Case(stage, first, precision, mode, **sizes)
    for stage in arguments.stages:
        for batch in others:
            yield Case(stage, batch, precision, mode, **sizes)
        for count in gpus[1:]:
            yield Case(stage, first, precision, mode, count, **sizes)


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    rows = []
    print("".join(f"{name:>{len(form.format(0))}}" for name, form in COLUMNS.items()), flush=True)
    with TemporaryDirectory() as folder:
        manifest = pack_noise(Path(folder) / "noise.rec", IMAGES)
        for number, case in enumerate(cases(arguments)):
            known = {name: getattr(case, name) for name in COLUMNS if hasattr(case, name)}
            try:
                work = Work(case, manifest, Path(folder) / str(number))
                row = known | launch(train, work, LaunchSettings(processes=case.gpus))
            except (torch.OutOfMemoryError, WorkerFailed) as error:
                if OUT_OF_MEMORY not in str(error):
                    raise
                row = known
            print("".join(_cell(form, row.get(name)) for name, form in COLUMNS.items()), flush=True)
            rows.append(row)
            gc.collect()
            torch.cuda.empty_cache()
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _cell(form: str, value: Any) -> str:
    """A value, or a dash for what is not known: no peak of this device, or out of memory."""
    return form.format(value) if value is not None else "-".rjust(len(form.format(0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bf16"])
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=["eager", "compiled"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128, 256], help="for each process")
    parser.add_argument("--steps", type=int, default=10, help="that are measured, after as many")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="that load, over all processes")
    parser.add_argument("--model", default=Case.model)
    parser.add_argument("--prototypes", type=int, default=Case.prototypes)
    parser.add_argument("--classes", type=int, default=Case.classes)
    parser.add_argument("--json", action="store_true", help="end with the figures as one line of JSON")
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, torch {torch.__version__}, {usable_cores()} cores", flush=True)
    table = measure(arguments)
    figures = {}
    for stage, rows in table.dropna(subset=["images_per_second"]).groupby("stage"):
        best = rows.loc[rows["images_per_second"].idxmax()].drop(["stage", "precision", "mode"]).dropna()
        figures |= {f"{stage}_{name}": round(float(value), 4) for name, value in best.items()}
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
