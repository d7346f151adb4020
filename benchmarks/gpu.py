"""Full-size pretraining on a GPU: images a second, model FLOP utilization, memory, waiting for images, hours.

For every setting the package's own step runs on views rendered on the device, from images that loader
processes decode. The first steps (compilation, allocator, loader) are timed apart. The literal step runs on
the device in float32 and in bf16 for comparison. Without a GPU the same code runs on the CPU.

    python -m benchmarks.gpu [--model part_fvit_base_patch8_112] [--batch-sizes 64 128 256] [--json]
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from benchmarks.pretrain_step import PROGRESS, matrix_products
from benchmarks.reference import ReferenceStep, as_input, view_batch, whole_batch
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.training.sampling import StepBatches
from lafs_pipeline.training.self_supervised import PretrainSamples, PretrainSettings, SelfSupervisedStage
from lafs_pipeline.training.step import Stepper, autocast

IMAGES = 2048
PAPER_IMAGES, PAPER_EPOCHS = 1_000_000, 41


@dataclass(frozen=True)
class Case:
    """One way to run the step."""

    batch_size: int
    precision: str
    compiled: bool
    recompute: bool = False


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


def prepare(
    case: Case, model: str, prototypes: int, device: torch.device
) -> tuple[SelfSupervisedStage, Stepper]:
    torch.manual_seed(0)
    options = PretrainSettings(prototypes=prototypes)
    training = replace(
        options.training,
        batch_size=case.batch_size,
        precision=case.precision,
        compile=case.compiled,
        recompute_activations=case.recompute,
    )
    stage = SelfSupervisedStage(build_model(model, {}), replace(options, training=training), 100, 10, None)
    stepper = Stepper(stage, training, 0, device, [np.arange(case.batch_size)], 100, 10)
    stage.modules.train()
    return stage, stepper


def batches(
    manifest: pd.DataFrame, case: Case, device: torch.device, steps: int, workers: int
) -> Iterator[Any]:
    """What the training loop's loader gives, for `steps` steps."""
    epochs = -(-steps * case.batch_size // (len(manifest) - case.batch_size + 1)) + 1
    options = PretrainSettings()
    samples = PretrainSamples(FaceImages(manifest), options, 0, on_device=True, landmarks=None)
    plan = StepBatches(len(manifest), case.batch_size, 1, epochs, seed=0)
    loader = DataLoader(samples, batch_sampler=plan, num_workers=workers, pin_memory=device.type == "cuda")
    yield from loader


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_case(
    case: Case, model: str, prototypes: int, manifest: pd.DataFrame, device: torch.device, arguments: Any
) -> dict[str, Any]:
    """Images a second and what belongs to them."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    stage, stepper = prepare(case, model, prototypes, device)
    operations = sum(2.0 * np.prod(key) * count for key, count in matrix_products(stage, 1).items())
    total = arguments.warmup + arguments.steps
    source = batches(manifest, case, device, total, arguments.workers)
    start = time.perf_counter()
    for _ in range(arguments.warmup):
        stepper([next(source)], PROGRESS)
    synchronize(device)
    warmup, waited = time.perf_counter() - start, 0.0
    start = time.perf_counter()
    for _ in range(arguments.steps):
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        stepper([batch], PROGRESS)
    synchronize(device)
    spent = time.perf_counter() - start
    source.close()
    rate = arguments.steps * case.batch_size / spent
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    return {
        "batch": case.batch_size,
        "precision": case.precision,
        "compiled": case.compiled,
        "recompute": case.recompute,
        "images_per_second": rate,
        "mfu": rate * operations / (arguments.peak_tflops * 1e12),
        "waiting": waited / spent,
        "peak_gb": peak,
        "warmup_seconds": warmup,
        "hours_1_gpu": PAPER_IMAGES * PAPER_EPOCHS / rate / 3600,
        "hours_8_gpus": PAPER_IMAGES * PAPER_EPOCHS / rate / 3600 / 8,
    }


def run_reference(
    model: str, prototypes: int, batch_size: int, precision: str, device: torch.device, steps: int
) -> float:
    """Images a second of the literal step on views that are already on the device."""
    stage, _ = prepare(Case(batch_size, "float32", False), model, prototypes, torch.device("cpu"))
    stage.modules.to(device)
    step = ReferenceStep(stage.student.model, stage.student.head, stage.options, 1e-4)
    views = {name: value.to(device) for name, value in view_batch(batch_size, 10).items()}
    clean, appearance = as_input(views, "_clean"), as_input(views, "")
    part = whole_batch(PROGRESS, 0, batch_size)
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with autocast(device, precision):
            step(clean, appearance, part, 0.05, 0.996)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return batch_size / min(times[1:])


def measure(arguments: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, float]]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    first, *others = arguments.batch_sizes
    cases = [
        Case(first, "float32", False),
        Case(first, "bf16", False),
        Case(first, "bf16", True),
        *(Case(size, "bf16", True) for size in others),
        Case(arguments.batch_sizes[-1], "bf16", False, recompute=True),
    ]
    rows = []
    with TemporaryDirectory() as folder:
        manifest = pack_noise(Path(folder) / "noise.rec", max(IMAGES, 2 * max(arguments.batch_sizes)))
        for case in cases:
            try:
                row = run_case(case, arguments.model, arguments.prototypes, manifest, device, arguments)
            except torch.cuda.OutOfMemoryError:
                print(f"{case}: out of memory", flush=True)
                continue
            print(row, flush=True)
            rows.append(row)
    table = pd.DataFrame(rows)
    references = {
        precision: run_reference(
            arguments.model, arguments.prototypes, arguments.reference_batch, precision, device, steps=3
        )
        for precision in ("float32", "bf16")
    }
    best = table.loc[table["images_per_second"].idxmax()]
    figures = {
        "images_per_second": best["images_per_second"],
        "mfu": best["mfu"],
        "waiting": best["waiting"],
        "hours_1_gpu": best["hours_1_gpu"],
        "hours_8_gpus": best["hours_8_gpus"],
        "reference_float32_images_per_second": references["float32"],
        "reference_bf16_images_per_second": references["bf16"],
        "speedup": best["images_per_second"] / max(references.values()),
    }
    return table, {name: float(value) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="part_fvit_base_patch8_112")
    parser.add_argument("--prototypes", type=int, default=100_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--reference-batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16, of an H100 or H200")
    parser.add_argument("--json", action="store_true", help="end with the figures as one line of JSON")
    arguments = parser.parse_args()
    table, figures = measure(arguments)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    for name, value in figures.items():
        print(f"{name:40s}{value:10.2f}")
    if arguments.json:
        print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
