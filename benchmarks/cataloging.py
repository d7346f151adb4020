"""What cataloging costs an image in time and memory, and what that comes to for 42 million images.

    python -m benchmarks.cataloging [--json] [--detector yunet.onnx] [--cores 16]

All images are made up: an aligned face is a random picture of 112 x 112 pixels, a photograph has 250 x 250
and a drawn face in it. `_per_second_<n>` is with n threads; `core_us` is processor time, most of it outside
Python; `python_us` is what remains where nothing is decoded, one thread at a time. Memory is what the process
has of its own at its peak (pages of mapped files are not), from the difference of two sizes.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.duplicates import find_near_pairs, search_cost
from lafs_pipeline.cataloging.hashes import thumbnail
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.faces.manifest import MANIFEST_TYPES, fingerprint, typed_table
from lafs_pipeline.runtime.cores import usable_cores
from lafs_pipeline.sources.open import SourceSettings, open_source
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.synthetic.faces import draw_face

ALIGNED, PHOTOGRAPHS, ROWS, HASHES = 10_000, 300, 1_000_000, 1_000_000
SMALL = (100_000, 300_000)
GOAL = 42_000_000
GOAL_DISTANCE = 6
SKEW = 4
"""Neighbors of a real face's hash to those of a random one (celeba_299 and LFW: 2 to 5, by the blocks)."""


def make_aligned(path: Path, count: int) -> SourceSettings:
    """Random pictures with the compressed size of faces, 20 an identity, as RecordIO."""
    generator = np.random.default_rng(0)
    with RecordIOWriter(path) as writer:
        for number in range(count):
            coarse = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC)
            grain = generator.integers(0, 12, (112, 112, 3), dtype=np.uint8)
            writer.write_image(number, encode_jpeg(cv2.add(image, grain)), float(number // 20))
    return SourceSettings(kind="recordio", path=str(path), aligned=True)


def make_small(path: Path, count: int) -> SourceSettings:
    """The same black picture with other bytes at its end."""
    encoded = cv2.imencode(".png", np.zeros((112, 112, 3), np.uint8))[1].tobytes()
    with RecordIOWriter(path) as writer:
        for number in range(count):
            writer.write_image(number, encoded + number.to_bytes(8, "little"), float(number // 20))
    return SourceSettings(kind="recordio", path=str(path), aligned=True)


def make_photographs(folder: Path, detector: str) -> SourceSettings:
    generator = np.random.default_rng(1)
    for number in range(PHOTOGRAPHS):
        image = cv2.resize(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8), (250, 250))
        image[70:182, 70:182] = draw_face(1, number // 5, number % 5).image
        (folder / f"{number // 5}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number // 5}/{number}.jpg").write_bytes(encode_jpeg(image))
    return SourceSettings(path=str(folder), detector=detector, min_score=0.3)


def own_memory() -> int:
    """Bytes of this process that no file stands for."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def measure_catalog(
    source: SourceSettings, folder: Path, threads: int, decode: bool, results: SimpleQueue
) -> None:
    """Images, seconds, core seconds and greatest memory of a whole catalog."""
    settings = CatalogSettings(sources={"s": source}, threads=threads, check_images=decode)
    memory, ended = [own_memory()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            memory.append(own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, core_start = time.perf_counter(), time.process_time()
    found = catalog_faces(settings, 0, folder / "out" / "faces.rec")
    seconds, core_seconds = time.perf_counter() - start, time.process_time() - core_start
    ended.set()
    watcher.join()
    results.put((len(found.manifest), seconds, core_seconds, max(memory)))


def in_a_child(function, *arguments):
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=function, args=(*arguments, results))
    process.start()
    answer = results.get()
    process.join()
    return answer


def manifest_of(rows: int) -> pd.DataFrame:
    """A manifest as of a data set of 20 images an identity, without points."""
    numbers = np.arange(rows)
    generator = np.random.default_rng(2)
    hashes = generator.integers(-(2**63), 2**63 - 1, (2, rows))
    columns = {
        "key": [f"webface/{number}" for number in numbers],
        "identity": [f"webface/{number // 20}" for number in numbers],
        "source": ["webface"] * rows,
        "split": ["train"] * rows,
        "store": ["data/01_raw/webface/train.rec"] * rows,
        "record": numbers,
        "offset": numbers * 10_000,
        "channel_order": ["rgb"] * rows,
        "width": np.full(rows, 112),
        "height": np.full(rows, 112),
        "exact_hash": hashes[0],
        "perceptual_hash": hashes[1],
    }
    nothing = np.full(rows, np.nan, np.float32)
    return typed_table(MANIFEST_TYPES, [columns.get(name, nothing) for name in MANIFEST_TYPES])


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(folder: Path, detector: str | None) -> dict[str, float]:
    figures: dict[str, float] = {}
    source = make_aligned(folder / "all.rec", ALIGNED)
    figures["file_bytes"] = Path(source.path).stat().st_size / ALIGNED
    opened = open_source("s", source, 0)
    figures["identity_us"] = 1e6 * timed(lambda: [opened.identity(i) for i in range(ALIGNED)]) / ALIGNED
    cores = usable_cores()
    for threads in sorted({1, cores}):
        _, seconds, core_seconds, _ = in_a_child(measure_catalog, source, folder, threads, True)
        figures[f"aligned_per_second_{threads}"] = ALIGNED / seconds
    figures["aligned_core_us"] = 1e6 * core_seconds / ALIGNED
    small = [make_small(folder / f"small{count}.rec", count) for count in SMALL]
    runs = [in_a_child(measure_catalog, one, folder, 1, False) for one in small]
    (_, _, core_few, memory_few), (_, _, core_many, memory_many) = runs
    figures["python_us"] = 1e6 * (core_many - core_few) / (SMALL[1] - SMALL[0])
    figures["peak_bytes"] = (memory_many - memory_few) / (SMALL[1] - SMALL[0])
    if detector:
        photographs = make_photographs(folder / "photographs", detector)
        for threads in sorted({1, cores}):
            found, seconds, core_seconds, _ = in_a_child(measure_catalog, photographs, folder, threads, True)
            figures[f"photographs_per_second_{threads}"] = PHOTOGRAPHS / seconds
        figures["photograph_core_us"] = 1e6 * core_seconds / PHOTOGRAPHS
        figures["photographs_with_a_face"] = found / PHOTOGRAPHS
    manifest = manifest_of(ROWS)
    figures["manifest_bytes"] = manifest.memory_usage(deep=True).sum() / ROWS
    manifest.to_parquet(folder / "manifest.parquet")
    figures["parquet_bytes"] = (folder / "manifest.parquet").stat().st_size / ROWS
    figures["fingerprint_us"] = 1e6 * timed(fingerprint, manifest) / ROWS
    hashes = manifest["perceptual_hash"].to_numpy(np.int64)[:HASHES]
    figures["search_us"] = 1e6 * timed(find_near_pairs, hashes, GOAL_DISTANCE) / HASHES
    offsets = [opened.location(index)[2] for index in range(1000)]
    images = FaceImages(manifest[:1000].assign(store=source.path, record=range(1000), offset=offsets))
    figures["second_look_us"] = 1e3 * timed(lambda: [thumbnail(images[i]) for i in range(1000)])
    return figures


def projection(figures: dict[str, float], cores: int) -> dict[str, float]:
    """Hours on so many cores and GB for the goal, in a RecordIO source that is read in place."""
    model = min(search_cost(GOAL, GOAL_DISTANCE, b) for b in range(GOAL_DISTANCE + 1, GOAL_DISTANCE + 8))
    here = min(search_cost(HASHES, GOAL_DISTANCE, b) for b in range(GOAL_DISTANCE + 1, GOAL_DISTANCE + 8))
    search = figures["search_us"] * HASHES / 1e6 * model / here
    return {
        "intake_hours": max(figures["aligned_core_us"] / cores, figures["python_us"]) * GOAL / 3.6e9,
        "plan_hours": figures["identity_us"] * GOAL / 3.6e9,
        "search_hours": search * SKEW / 3600 / cores,
        "fingerprint_hours": figures["fingerprint_us"] * GOAL / 3.6e9,
        "manifest_gb": figures["manifest_bytes"] * GOAL / 1e9,
        "peak_gb": figures["peak_bytes"] * GOAL / 1e9,
        "parquet_gb": figures["parquet_bytes"] * GOAL / 1e9,
        "source_gb": figures["file_bytes"] * GOAL / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--detector", help="YuNet ONNX file, to measure detection too")
    parser.add_argument("--cores", type=int, default=16, help="cores that the projection is made for")
    arguments = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), arguments.detector)
    plan = {f"{name}_42m": value for name, value in projection(figures, arguments.cores).items()}
    print(f"{GOAL:,} aligned faces read in place, {arguments.cores} cores, near distance {GOAL_DISTANCE}:")
    rounded = {name: float(f"{value:.4g}") for name, value in (figures | plan).items()}
    for name, value in rounded.items():
        print(f"  {name:28}{value:>14,.4g}")
    if arguments.json:
        print(json.dumps(rounded))


if __name__ == "__main__":
    main()
