"""How many faces a second one core decodes and collates, and what opening a million records takes.

    python -m benchmarks.loading [--images 2000] [--rounds 5] [--json]

The same JPEG files are read as RecordIO through the manifest, as a folder, as a tar file, and by
torchvision's ImageFolder with Pillow, to batches of a DataLoader without workers. `imagefolder_ratio`
compares with ImageFolder as torchvision documents it (ToTensor: float32), `imagefolder_uint8_ratio` with the
same bytes as ours (PILToTensor). The ways take turns, the quickest round of each counts. Opening is measured
in a process of its own, whose growth in peak memory is read at its end.
"""

import argparse
import json
import multiprocessing
import tarfile
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor, ToTensor

from benchmarks.memory import peak_mb
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.recordio import RecordIOWriter
from lafs_pipeline.sources.recordio.source import RecordIOSource
from lafs_pipeline.sources.source import Source
from lafs_pipeline.sources.synthetic.faces import draw_face
from lafs_pipeline.sources.tar import TarSource

IMAGES_A_PERSON, BATCH, RECORDS = 20, 64, 1_000_000


class Decoded(Dataset):
    """A source without its manifest."""

    def __init__(self, source: Source):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode_image(self.source.read(index).encoded)


def make_files(folder: Path, images: int) -> pd.DataFrame:
    """Folder, tar and RecordIO of the same synthetic faces, JPEG of about the size of LFW's aligned ones."""
    rows = []
    with RecordIOWriter(folder / "faces.rec") as writer, tarfile.open(folder / "faces.tar", "w") as shard:
        for number in range(images):
            person, image = divmod(number, IMAGES_A_PERSON)
            encoded = encode_jpeg(draw_face(0, person, image).image)
            path = folder / "faces" / f"{person:04d}" / f"{image:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
            shard.add(path, path.relative_to(folder / "faces"))
            offset = writer.write_image(number, encoded, person)
            rows.append((str(number), str(folder / "faces.rec"), number, offset, "rgb"))
    return pd.DataFrame(rows, columns=["key", "store", "record", "offset", "channel_order"])


def images_per_second(folder: Path, manifest: pd.DataFrame, rounds: int) -> dict[str, float]:
    """The quickest of several rounds, by way of reading."""
    ways = {
        "rec": FaceImages(manifest),
        "folder": Decoded(FolderSource(folder / "faces")),
        "tar": Decoded(TarSource(folder / "faces.tar")),
        "imagefolder": ImageFolder(folder / "faces", ToTensor()),
        "imagefolder_uint8": ImageFolder(folder / "faces", PILToTensor()),
    }
    seconds = dict.fromkeys(ways, np.inf)
    for _ in range(rounds):
        for way, dataset in ways.items():
            start = time.perf_counter()
            for _ in DataLoader(dataset, BATCH):
                pass
            seconds[way] = min(seconds[way], time.perf_counter() - start)
    return {way: len(manifest) / least for way, least in seconds.items()}


def make_records(path: Path) -> None:
    with RecordIOWriter(path) as writer:
        for key in range(RECORDS):
            writer.write_image(key, b"tiny", key % 1000)


def open_records(path: Path, results: SimpleQueue) -> None:
    before = peak_mb()
    start = time.perf_counter()
    source = RecordIOSource(path)
    assert source.read(RECORDS // 2).encoded == b"tiny"
    seconds = time.perf_counter() - start
    results.put((seconds, peak_mb() - before))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_files(folder, arguments.images)
        size = (folder / "faces.rec").stat().st_size / arguments.images
        print(f"{arguments.images} JPEG images of {size:,.0f} bytes, 112 x 112, batches of {BATCH}")
        rates = images_per_second(folder, manifest, arguments.rounds)
        for way, rate in rates.items():
            print(f"{way:20}{rate:10,.0f} images a second on one core")
        make_records(folder / "million.rec")
        context = multiprocessing.get_context("spawn")
        results = context.SimpleQueue()
        child = context.Process(target=open_records, args=(folder / "million.rec", results))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"Opening ended with status {child.exitcode}.")
        open_seconds, open_mb = results.get()
    figures = {
        "rec_images_per_second_per_core": round(rates["rec"]),
        "folder_images_per_second_per_core": round(rates["folder"]),
        "tar_images_per_second_per_core": round(rates["tar"]),
        "imagefolder_ratio": round(rates["rec"] / rates["imagefolder"], 2),
        "imagefolder_uint8_ratio": round(rates["rec"] / rates["imagefolder_uint8"], 2),
        "open_seconds": round(open_seconds, 2),
        "open_mb": round(open_mb, 1),
    }
    print("  ".join(f"{key} {value}" for key, value in figures.items()))
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
