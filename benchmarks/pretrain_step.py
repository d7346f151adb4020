"""A full-size pretraining step against the literal one, and against its own matrix products.

The step starts with ready views (uint8) and ends with the updated teacher: landmarks, patches, teacher,
student, loss, gradients, clipping, AdamW, EMA. Both sides have the published sizes: 64.1 M parameters, 196
and 36 tokens, 2 + 8 views, K = 65,536, dropout and DropPath 0.1, float32. Their rounds alternate, the
quickest counts. Peak memory is that of a process of its own which makes two steps.

    python -m benchmarks.pretrain_step [--batch-sizes 4 8] [--rounds 3] [--json]
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.memory import peak_mb
from benchmarks.reference import ReferenceStep, as_input, reference_patches, view_batch, whole_batch
from benchmarks.views import measure as measure_views
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.training.self_supervised import PretrainSettings, SelfSupervisedStage
from lafs_pipeline.training.stage import Progress
from lafs_pipeline.training.step import Stepper

PROTOTYPES = 65_536
PROGRESS = Progress(step=20, total_steps=100, steps_per_epoch=10)
FULL, TINY = "part_fvit_base_patch8_112", "part_fvit_tiny_patch8_112"
RATE = 1e-4


def make_stage(name: str, views: int = 10, landmarks: str = "per_view") -> SelfSupervisedStage:
    torch.manual_seed(0)
    options = PretrainSettings(prototypes=PROTOTYPES, landmarks=landmarks)
    options = replace(options, views=replace(options.views, local_views=views - 2))
    return SelfSupervisedStage(build_model(name, {}), options, 100, 10, None)


def cached_landmarks(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch without clean copies, with landmarks and geometry instead."""
    size = len(batch["global"])
    views = batch["global"].shape[1] + batch["local"].shape[1]
    return {kind: batch[kind] for kind in ("global", "local")} | {
        "landmarks": torch.rand(size, 2, 196, 2) * 111,
        "boxes": torch.tensor([10, 10, 90, 90]).expand(size, views, 4),
        "flips": torch.rand(size, views) < 0.5,
    }


def our_step(name: str, batch_size: int, views: int = 10, landmarks: str = "per_view") -> Callable[[], float]:
    """A call makes one step of the package."""
    stage = make_stage(name, views, landmarks)
    training = replace(stage.options.training, batch_size=batch_size)
    stepper = Stepper(stage, training, 0, torch.device("cpu"), [np.arange(batch_size)], 100, 10)
    batch = view_batch(batch_size, views)
    if landmarks == "cached":
        batch = cached_landmarks(batch)
    stage.modules.train()
    return lambda: float(stepper([batch], PROGRESS)["loss"])


def reference_step(name: str, batch_size: int) -> Callable[[], float]:
    """A call makes one literal step."""
    stage = make_stage(name)
    step = ReferenceStep(stage.student.model, stage.student.head, stage.options, RATE)
    batch = view_batch(batch_size, 10)
    part = whole_batch(PROGRESS, 0, batch_size)
    return lambda: step(as_input(batch, "_clean"), as_input(batch, ""), part, 0.05, 0.996)


SIDES = {"ours": our_step, "reference": reference_step}


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def patches_speedup(rounds: int) -> float:
    """196 patches of ten views of 8 images, and 36 of them for local views."""
    images = torch.rand(80, 3, 112, 112)
    points = torch.rand(80, 196, 2) * 111

    def literal() -> None:
        for view in range(10):
            rows = slice(8 * view, 8 * view + 8)
            reference_patches(images[rows], points[rows] if view < 2 else points[rows, :36], 8)

    def ours() -> None:
        sample_patches(images[:16], points[:16], 8)
        sample_patches(images[16:], points[16:, :36], 8)

    slow, quick = ([seconds(call) for _ in range(10 * rounds)] for call in (literal, ours))
    return min(slow) / min(quick)


def matrix_products(stage: SelfSupervisedStage, batch_size: int) -> Counter[tuple[int, ...]]:
    """Shapes (batch, m, k, n) of the products of one step, with their counts; DropPath saves nothing here.

    The last block computes keys and values for all tokens and the rest for the class token alone.
    """
    sizes, options = stage.student.model.sizes, stage.options
    dim, inner, hidden = sizes["dim"], sizes["heads"] * sizes["head_dim"], sizes["mlp_dim"]
    heads, width = sizes["heads"], sizes["head_dim"]
    products: Counter[tuple[int, ...]] = Counter()

    def linear(rows: int, fan_in: int, fan_out: int, trained: bool, to_input: bool = True) -> None:
        products[1, rows, fan_in, fan_out] += 1
        if trained:
            products[1, fan_out, rows, fan_in] += 1
            if to_input:
                products[1, rows, fan_out, fan_in] += 1

    def attend(samples: int, queries: int, tokens: int, trained: bool) -> None:
        pairs = samples * heads
        products[pairs, queries, width, tokens] += 1
        products[pairs, queries, tokens, width] += 1
        if trained:
            products[pairs, queries, width, tokens] += 1
            products[pairs, tokens, queries, width] += 2
            products[pairs, queries, tokens, width] += 1

    def network(samples: int, tokens: int, trained: bool) -> None:
        rows = samples * (tokens + 1)
        linear(samples * tokens, stage.student.model.patch_size**2 * 3, dim, trained, to_input=False)
        for block in range(sizes["depth"]):
            last = block == sizes["depth"] - 1
            read = samples if last else rows
            for count, fan_out in ((rows, 2 * inner), (samples, inner)) if last else ((rows, 3 * inner),):
                linear(count, dim, fan_out, trained)
            attend(samples, 1 if last else tokens + 1, tokens + 1, trained)
            linear(read, inner, dim, trained)
            linear(read, dim, hidden, trained)
            linear(read, hidden, dim, trained)
        for fan_in, fan_out in (
            (dim, options.head_hidden_dim),
            (options.head_hidden_dim, options.head_hidden_dim),
            (options.head_hidden_dim, options.head_bottleneck_dim),
            (options.head_bottleneck_dim, options.prototypes),
        ):
            linear(samples, fan_in, fan_out, trained)

    whole, local = sizes["num_landmarks"], options.views.local_landmarks
    network(2 * batch_size, whole, trained=False)
    for _ in range(2):
        network(batch_size, whole, trained=True)
    network(options.views.local_views * batch_size, local, trained=True)
    return products


class MatrixProducts:
    """Times torch.mm (torch.bmm for attention) on the step's own shapes."""

    def __init__(self, stage: SelfSupervisedStage, batch_size: int) -> None:
        self.products = matrix_products(stage, batch_size)
        self.best = dict.fromkeys(self.products, float("inf"))

    def round(self) -> None:
        for batch, m, k, n in self.products:
            left, right = torch.rand(batch, m, k), torch.rand(batch, k, n)
            call = (lambda a=left[0], b=right[0]: torch.mm(a, b)) if batch == 1 else None
            call = call or (lambda a=left, b=right: torch.bmm(a, b))
            key = (batch, m, k, n)
            self.best[key] = min(self.best[key], *(seconds(call) for _ in range(3)))

    def seconds(self) -> float:
        return sum(count * self.best[key] for key, count in self.products.items())

    def operations(self) -> float:
        """Floating-point operations."""
        return sum(2.0 * np.prod(key) * count for key, count in self.products.items())


KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("flash_attention",),
    "dropout masks": ("random_", "ge", "where", "nonzero"),
    "landmark network": ("conv", "batch_norm", "hardswish"),
    "patches": ("grid_sampler",),
    "loss": ("softmax", "logsumexp", "log_softmax"),
    "GELU and LayerNorm": ("gelu", "layer_norm"),
    "optimizer and EMA": ("adam", "lerp"),
}


def attribution(call: Callable[[], object]) -> dict[str, float]:
    """Seconds of one step by kind of operation."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    parts: Counter[str] = Counter()
    for event in profile.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(n in event.key for n in names)), "other")
        parts[kind] += event.self_cpu_time_total / 1e6
    return dict(parts.most_common())


def peak_memory(side: str, batch_size: int) -> float:
    """GB of a process of its own that makes two steps."""
    command = [sys.executable, "-m", "benchmarks.pretrain_step", "--peak-of", side]
    done = subprocess.run(
        [*command, "--batch-sizes", str(batch_size)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def landmark_cache_speedup(name: str, rounds: int) -> float:
    """What a step gains at batch 8 when landmarks come from the cache."""
    calls = [our_step(name, 8, landmarks=landmarks) for landmarks in ("per_view", "cached")]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for spent, call in zip(times, calls, strict=True):
            spent.append(seconds(call))
    return min(times[0]) / min(times[1])


def growth(rounds: int) -> list[tuple[str, float]]:
    """Seconds a step of the tiny size over batch size and over views."""
    cases = [(batch, 10) for batch in (4, 8, 16)] + [(8, views) for views in (2, 6, 10, 18)]
    table = []
    for batch, views in cases:
        call = our_step(TINY, batch, views)
        call()
        table.append((f"batch {batch}, {views} views", min(seconds(call) for _ in range(rounds + 2))))
    return table


def measure(batch_sizes: list[int], rounds: int) -> dict[str, float]:
    figures = {
        "views_speedup": measure_views(40, 5)["views_speedup"],
        "patches_speedup": patches_speedup(rounds),
    }
    for batch_size in batch_sizes:
        calls = {side: make(FULL, batch_size) for side, make in SIDES.items()}
        products = MatrixProducts(make_stage(FULL), batch_size)
        best = dict.fromkeys(calls, float("inf"))
        for call in calls.values():
            call()
        for _ in range(rounds):
            products.round()
            for side, call in calls.items():
                best[side] = min(best[side], seconds(call))
        print(f"batch {batch_size}: reference {best['reference']:.2f} s, ours {best['ours']:.2f} s, ", end="")
        print(
            f"matrix products {products.seconds():.2f} s "
            f"({products.operations() / products.seconds() / 1e9:.0f} GFLOP/s)"
        )
        for kind, spent in attribution(calls["ours"]).items():
            print(f"    {kind:24s}{spent:8.2f} s")
        figures |= {
            "step_speedup": best["reference"] / best["ours"],
            "matmul_efficiency": best["ours"] / products.seconds(),
            f"step_speedup_batch_{batch_size}": best["reference"] / best["ours"],
            f"matmul_efficiency_batch_{batch_size}": best["ours"] / products.seconds(),
        }
        del calls, products
        peaks = {side: peak_memory(side, batch_size) for side in SIDES}
        figures |= {"memory_ratio": peaks["ours"] / peaks["reference"]}
        print(f"    peak memory: reference {peaks['reference']:.2f} GB, ours {peaks['ours']:.2f} GB")
    tiny = {side: make(TINY, 8) for side, make in SIDES.items()}
    times = {side: [seconds(call) for _ in range(rounds + 2)] for side, call in tiny.items()}
    figures["tiny_step_speedup"] = min(times["reference"]) / min(times["ours"])
    print(f"tiny, batch 8: reference {min(times['reference']):.2f} s, ours {min(times['ours']):.2f} s")
    figures["landmark_cache_speedup_tiny"] = landmark_cache_speedup(TINY, rounds)
    figures["landmark_cache_speedup"] = landmark_cache_speedup(FULL, rounds)
    for case, spent in growth(rounds):
        print(f"    {case:24s}{spent:8.2f} s")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 8], help="the last one counts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="end with the figures as one line of JSON")
    parser.add_argument("--peak-of", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        call = SIDES[arguments.peak_of](FULL, arguments.batch_sizes[0])
        call()
        call()
        print(peak_mb() * 2**20 / 1e9)
        return
    figures = measure(arguments.batch_sizes, arguments.rounds)
    for name, value in figures.items():
        print(f"{name:32s}{value:8.2f}")
    if arguments.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
