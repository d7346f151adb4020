"""How long does an IJB-C sized evaluation take, and how much memory, beside a literal implementation?

    python -m benchmarks.evaluation [--json]

Random image features (float16, memory-mapped), template and media ids and pairs of IJB-C's size are pooled,
scored and reduced to the TAR table. Then both implementations run on a tenth of the data: `speedup` is the
ratio of those two times, and `speedup_whole` that of ten times the literal's to the whole (its scans grow
faster than that). Every run is a process of its own, whose peak memory is read at its end.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from benchmarks.memory import peak_mb
from lafs_pipeline.evaluation.templates import (
    FALSE_ACCEPT_RATES,
    Templates,
    pool_templates,
    score_pairs,
    tar_at_far,
)

IMAGES, TEMPLATES, PAIRS, WIDTH = 469_375, 23_124, 15_658_489, 768
SAME_PAIRS = 19_557 / PAIRS
IMAGES_A_MEDIA = 3


class Protocol(NamedTuple):
    features: np.ndarray
    template_ids: np.ndarray
    media_ids: np.ndarray
    detector_scores: np.ndarray
    template_a: np.ndarray
    template_b: np.ndarray
    is_same: np.ndarray


def make_protocol(folder: Path, fraction: float) -> None:
    """Write random arrays; templates 2k and 2k + 1 are of one person, so that same pairs score higher."""
    rng = np.random.default_rng(0)
    images, templates, pairs = (int(size * fraction) for size in (IMAGES, TEMPLATES, PAIRS))
    templates -= templates % 2
    template_ids = np.concatenate([np.arange(templates), rng.integers(0, templates, images - templates)])
    template_ids.sort()
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (images, WIDTH))
    people = rng.standard_normal((templates // 2, WIDTH), dtype=np.float32)
    for start in range(0, images, 16_384):
        noise = rng.standard_normal((min(16_384, images - start), WIDTH), dtype=np.float32)
        features[start : start + 16_384] = people[template_ids[start : start + 16_384] // 2] + 10 * noise
    features.flush()
    template_a, template_b = rng.integers(0, templates, (2, pairs))
    same = rng.random(pairs) < SAME_PAIRS
    template_b[same] = template_a[same] ^ 1
    arrays = {
        "template_ids": template_ids,
        "media_ids": np.arange(images) // IMAGES_A_MEDIA,
        "detector_scores": rng.random(images, dtype=np.float32),
        "template_a": template_a,
        "template_b": template_b,
        "is_same": template_a // 2 == template_b // 2,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def load_protocol(folder: Path) -> Protocol:
    return Protocol(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in Protocol._fields))


def library(protocol: Protocol) -> dict[float, float]:
    templates = pool_templates(
        protocol.features, protocol.template_ids, protocol.media_ids, protocol.detector_scores
    )
    scores = score_pairs(templates, protocol.template_a, protocol.template_b)
    return tar_at_far(scores, protocol.is_same)


def literal(protocol: Protocol) -> dict[float, float]:
    """The protocol as it reads: a scan a template and media, float64 pairs in blocks, a zipped search."""
    features = np.asarray(protocol.features, np.float64) * np.asarray(protocol.detector_scores)[:, None]
    template_ids, media_ids = np.asarray(protocol.template_ids), np.asarray(protocol.media_ids)
    ids = np.unique(template_ids)
    pooled = np.zeros((len(ids), WIDTH))
    for row, template in enumerate(ids):
        (images,) = np.where(template_ids == template)
        media = media_ids[images]
        pooled[row] = sum(features[images[media == medium]].mean(axis=0) for medium in np.unique(media))
    templates = Templates(ids, normalize(pooled))
    row_of = np.zeros(ids.max() + 1, int)
    row_of[ids] = np.arange(len(ids))
    scores = np.zeros(len(protocol.template_a))
    for start in range(0, len(scores), 100_000):
        block = slice(start, start + 100_000)
        first = templates.features[row_of[protocol.template_a[block]]]
        second = templates.features[row_of[protocol.template_b[block]]]
        scores[block] = np.sum(first * second, axis=-1)
    fpr, tpr, _ = roc_curve(protocol.is_same, scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    table = {}
    for rate in FALSE_ACCEPT_RATES:
        _, index = min(zip(abs(fpr - rate), range(len(fpr)), strict=True))
        table[rate] = float(tpr[index])
    return table


def _measure(evaluate: Callable[[Protocol], dict[float, float]], folder: Path, results: SimpleQueue) -> None:
    protocol = load_protocol(folder)
    start = time.perf_counter()
    table = evaluate(protocol)
    seconds = time.perf_counter() - start
    results.put((table, seconds, peak_mb() / 2**10))


def _in_a_child(work: Callable, *arguments: object) -> None:
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{work.__name__} ended with status {child.exitcode}.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    arguments = parser.parse_args()
    results = multiprocessing.get_context("spawn").SimpleQueue()
    runs = {}
    with tempfile.TemporaryDirectory() as name:
        for size, fraction, ways in (("whole", 1.0, [library]), ("a tenth", 0.1, [library, literal])):
            folder = Path(name, size)
            folder.mkdir()
            _in_a_child(make_protocol, folder, fraction)
            for evaluate in ways:
                _in_a_child(_measure, evaluate, folder, results)
                runs[f"{evaluate.__name__}, {size}"] = results.get()
    print(f"{'':18}{'seconds':>9}{'peak GiB':>10}   TAR at FAR")
    for label, (table, seconds, peak) in runs.items():
        rates = "  ".join(f"{rate:.0e}: {tar:.4f}" for rate, tar in table.items())
        print(f"{label:18}{seconds:9.2f}{peak:10.2f}   {rates}")
    _, seconds, peak = runs["library, whole"]
    tenth, literal_tenth = runs["library, a tenth"][1], runs["literal, a tenth"][1]
    figures = {
        "seconds": round(seconds, 2),
        "peak_gb": round(peak, 2),
        "speedup": round(literal_tenth / tenth, 1),
        "speedup_whole": round(10 * literal_tenth / seconds, 1),
    }
    print("  ".join(f"{key} {value}" for key, value in figures.items()))
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
