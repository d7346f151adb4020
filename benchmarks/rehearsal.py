"""Seconds and memory of a training on millions of faces, without the faces.

    python -m benchmarks.rehearsal --rows 4200000 [--workers 1 4 12] [--steps 100] [--json]

A manifest of so many rows points into a small store, whose records repeat. What a training does with it is
done: reading, fingerprint and labels; loaders that start and give the batches of some steps, in a process
by itself and in two that are launched; landmarks of a share of the faces, and embeddings; a checkpoint of
the matrix of 2 million classes, of width 64, with its AdamW moments. Each runs in a process of its own.
`private` is what only that process holds and the kernel cannot take back, `file pages` what only it has
read of mapped files and may lose at any time (together USS), `shared in` its part of what it shares (PSS);
they are read from /proc when the last batch is there. `peak` is the kernel's, and `more` what it is above
the peak before. Rows with `~` are extrapolated. Files lie in a temporary folder.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks.gpu import pack_noise
from benchmarks.memory import peak_mb
from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.faces.subsets import identity_labels
from lafs_pipeline.models.landmark_network import MirroredLandmarks
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter
from lafs_pipeline.training.loading import loaded
from lafs_pipeline.training.monitoring.probes import identity_probe
from lafs_pipeline.training.sampling import StepBatches
from lafs_pipeline.training.self_supervised import CachedLandmarks, PretrainSamples, PretrainSettings

RECORDS, FACES_PER_IDENTITY, LANDMARKS, BATCH = 1024, 20, 196, 64
WIDTH, FULL_WIDTH, PROBE_IMAGES = 64, 768, 1000
SHARES = (2_000, 8_000)
COLUMNS = ("seconds", "resident", "shared in", "private", "file pages", "peak", "more")
SMALL = {"num_landmarks": 49, "patch_size": 16, "dim": 128, "depth": 4, "heads": 4, "head_dim": 32}
SMALL |= {"mlp_dim": 256, "landmark_width": 0.25}


@dataclass(frozen=True)
class Loading:
    """What every process of a rehearsed training gets."""

    manifest: pd.DataFrame
    landmarks: CachedLandmarks
    workers: int
    steps: int


def memory_mb(pid: int | str = "self") -> dict[str, float]:
    """Resident, proportional and private memory of a process, and file pages that only it has read."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        found[name] = int(value) / 2**10
    return {
        "resident": found["Rss:"],
        "shared in": found["Pss:"],
        "private": found["Private_Dirty:"],
        "file pages": found["Private_Clean:"],
    }


def make_manifest(folder: Path, rows: int) -> Path:
    """A Parquet file with the columns that a training reads."""
    noise = pack_noise(folder / "noise.rec", RECORDS)
    numbers = np.arange(rows)

    def named(prefix: str, values: np.ndarray) -> pd.array:
        parts = (pa.scalar(prefix), pc.cast(pa.array(values), pa.string()), pa.scalar(""))
        return pd.array(pc.binary_join_element_wise(*parts), dtype="string")

    alike = {"split": "train", "store": str(folder / "noise.rec"), "channel_order": "rgb"}
    codes = np.zeros(rows, np.int8)
    table = pd.DataFrame(
        {
            "key": named("web/faces/", numbers + 10**9),
            "identity": named("web/person", numbers // FACES_PER_IDENTITY + 10**8),
            "record": np.resize(noise["record"].to_numpy(), rows),
            "offset": np.resize(noise["offset"].to_numpy(), rows),
            "exact_hash": numbers,
            **{name: pd.Categorical.from_codes(codes, [value]) for name, value in alike.items()},
        }
    )
    table.to_parquet(folder / "faces.parquet")
    return folder / "faces.parquet"


def read_manifest(path: Path) -> dict[str, Any]:
    """What comes before the first step of a training in one process."""
    figures, start = {}, time.perf_counter()

    def noted(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        figures[name] = {"seconds": now - start} | memory_mb() | {"peak": peak_mb()}
        start = time.perf_counter()

    manifest = pd.read_parquet(path)
    noted("read the manifest")
    fingerprint(manifest)
    noted("fingerprint")
    identity_labels(manifest)
    noted("labels")
    identity_probe(manifest, PROBE_IMAGES, 0)
    noted("probe")
    next(iter(StepBatches(len(manifest), BATCH, 1, 1, seed=0)))
    noted("plan of an epoch")
    return figures


def load_steps(job: Loading) -> dict[str, Any]:
    """Load batches as a pretraining with cached landmarks does; memory of this process and its loaders."""
    start = time.perf_counter()
    options = PretrainSettings(landmarks="cached")
    samples = PretrainSamples(FaceImages(job.manifest), options, 0, True, job.landmarks)
    kept = identity_labels(job.manifest)[0], identity_probe(job.manifest, PROBE_IMAGES, 0)
    rank, size = processes.rank(), processes.world_size()
    plan = StepBatches(len(samples), BATCH * size, 1, 1, 0, 0, rank, size)
    batches = loaded(samples, plan, job.workers, pinned=False)
    next(batches)
    first = time.perf_counter() - start
    for _ in range(job.steps - 1):
        next(batches)
    spent = time.perf_counter() - start
    loaders = [memory_mb(child.pid) for child in multiprocessing.active_children()]
    batches.close()
    del kept
    most = {name: max(one[name] for one in loaders) for name in loaders[0]}
    return {
        "first batch": {"seconds": first},
        f"{job.steps} steps, training process": {"seconds": spent} | memory_mb() | {"peak": peak_mb()},
        "loader, the largest": most,
    }


def load_alone(path: Path, points: Path, workers: int, steps: int, count: int) -> dict[str, Any]:
    """A training's loading in one process, or in several that are launched."""
    manifest = pd.read_parquet(path)
    landmarks = CachedLandmarks(np.load(points, mmap_mode="r"), np.arange(len(manifest), dtype=np.int32))
    return launch(load_steps, Loading(manifest, landmarks, workers, steps), LaunchSettings(processes=count))


def embed_share(path: Path, folder: Path, rows: int, kind: str) -> dict[str, Any]:
    """Landmarks or embeddings of some faces, by the demo's small model."""
    manifest = pd.read_parquet(path).head(rows)
    model = build_model("part_fvit_tiny_patch8_112", SMALL)
    if kind == "landmarks":
        model = MirroredLandmarks(model.landmark_network)
    before, start = peak_mb(), time.perf_counter()
    options = EvaluateSettings(flip=kind == "embeddings")
    launching = LaunchSettings(processes=1)
    EmbeddingStore(folder / kind).embed(model, f"{rows:032d}", {kind: manifest}, options, launching)
    figures = {"seconds": time.perf_counter() - start, "peak": peak_mb(), "more": peak_mb() - before}
    return {f"{kind} of {rows:,}": figures}


def save_classes(folder: Path, classes: int) -> dict[str, Any]:
    """A checkpoint of a class matrix and its moments."""
    weights = torch.randn(classes, WIDTH)
    moments = {"exp_avg": weights.clone(), "exp_avg_sq": weights.clone(), "step": torch.tensor(1.0)}
    state = {"state": {0: moments}, "param_groups": [{"params": [0]}]}
    before, start = peak_mb(), time.perf_counter()
    with CheckpointWriter(folder / "checkpoint", keep=1) as writer:
        writer.save(Checkpoint(1, {"classes": weights}, state, {}, {}))
        pause = time.perf_counter() - start
        writer.drain()
        written = time.perf_counter() - start
    figures = {"seconds": written, "peak": peak_mb(), "more": peak_mb() - before}
    return {"checkpoint: pause": {"seconds": pause}, "checkpoint: written": figures}


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure(
    folder: Path, rows: int, workers: list[int], steps: int, classes: int
) -> dict[str, dict[str, float]]:
    start = time.perf_counter()
    path = alone(make_manifest, folder, rows)
    print(f"{rows:,} rows, made in {time.perf_counter() - start:.0f} s", flush=True)
    # Zeros that take no place on the disk.
    np.lib.format.open_memmap(folder / "points.npy", "w+", np.float32, (rows, 4 * LANDMARKS)).flush()
    figures: dict[str, dict[str, float]] = {}

    def note(prefix: str, found: dict[str, dict[str, float]]) -> None:
        for name, values in found.items():
            figures[prefix + name] = values
            cells = [f"{values[column]:,.1f}" if column in values else "" for column in COLUMNS]
            print(f"{prefix + name:64}" + "".join(f"{cell:>11}" for cell in cells), flush=True)

    print(f"{'MB':64}" + "".join(f"{column:>11}" for column in COLUMNS))
    note("", alone(read_manifest, path))
    for count in (1, 2):
        for number in workers if count == 1 else workers[:1]:
            prefix = f"{count} process{'es' * (count - 1)}, {number} loaders each: "
            note(prefix, alone(load_alone, path, folder / "points.npy", number, steps, count))
    for kind in ("landmarks", "embeddings"):
        seconds = []
        for share in SHARES:
            found = alone(embed_share, path, folder, share, kind)
            note("", found)
            seconds += [values["seconds"] for values in found.values()]
        slope = (seconds[1] - seconds[0]) / (SHARES[1] - SHARES[0])
        note("~ ", {f"{kind} of all": {"seconds": rows * slope}})
    saved = alone(save_classes, folder, classes)
    note("", saved)
    for name, values in saved.items():
        kept = [column for column in ("seconds", "more") if column in values]
        grown = {column: values[column] * FULL_WIDTH / WIDTH for column in kept}
        note("~ ", {f"{name}, width {FULL_WIDTH}": grown})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4_200_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 12], help="loaders of a process")
    parser.add_argument("--steps", type=int, default=100, help="whose batches are loaded")
    parser.add_argument("--classes", type=int, default=2_000_000, help="rows of the class matrix")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    arguments = parser.parse_args()
    print(f"{usable_cores()} cores, batches of {BATCH}")
    with TemporaryDirectory() as name:
        figures = measure(Path(name), arguments.rows, arguments.workers, arguments.steps, arguments.classes)
    if arguments.json:
        flat = {
            f"{name}, {column}": value for name, found in figures.items() for column, value in found.items()
        }
        print(json.dumps(flat))


if __name__ == "__main__":
    main()
