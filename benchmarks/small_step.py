"""Steps of the demo's small model against their own convolutions and matrix products.

    python -m benchmarks.small_step [--batch-sizes 32 64] [--rounds 5] [--threads 1] [--json]

A step of every training (stage 1 by warps and by identities, pretraining, adaptation) starts with a loaded
batch and ends with updated weights. The convolutions and products that it makes, forward and backward, are
recorded and then repeated alone, on tensors of the same shapes and layouts; the quickest of the rounds
counts on both sides.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.contention import make_jobs, read_recipe

KERNELS = ("convolution", "mm", "bmm", "scaled_dot_product")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def recorded(step: Callable[[], object]) -> Counter[tuple[Any, ...]]:
    """The kernels that a step calls, with their arguments, tensors by shape and layout, and their counts."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    calls: Counter[tuple[Any, ...]] = Counter()

    def described(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return ("tensor", tuple(value.shape), value.stride(), value.dtype)
        return tuple(value) if isinstance(value, list) else value

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if any(kernel in func.name() for kernel in KERNELS):
                named = tuple((name, described(value)) for name, value in (kwargs or {}).items())
                calls[func, tuple(map(described, args)), named] += 1
            return func(*args, **(kwargs or {}))

    with Recorder():
        step()
    return calls


def alone(calls: Counter[tuple[Any, ...]], rounds: int) -> float:
    """How long the kernels take one after the other, with nothing between them."""
    import torch

    def made(value: Any) -> Any:
        if isinstance(value, tuple) and value[:1] == ("tensor",):
            return torch.empty_strided(value[1], value[2], dtype=value[3]).fill_(0.5)
        return list(value) if isinstance(value, tuple) else value

    total = 0.0
    with torch.no_grad():
        for (func, args, named), count in calls.items():
            values, keywords = [made(value) for value in args], {name: made(value) for name, value in named}
            total += count * min(seconds(lambda: func(*values, **keywords)) for _ in range(rounds))  # noqa: B023
    return total


def make_step(job: Any, batch_size: int) -> Callable[[], object]:
    """A call makes one step of a training on a batch that is there already."""
    import torch
    from torch.utils.data import default_collate

    from lafs_pipeline.training.stage import Progress
    from lafs_pipeline.training.step import Stepper

    stage, samples = job.stage(), job.samples()
    stepper = Stepper(stage, job.options.training, 0, torch.device("cpu"), [np.arange(batch_size)], 1000, 100)
    stage.modules.train()
    batch = default_collate([samples[0, index] for index in range(batch_size)])
    return lambda: float(stepper([batch], Progress(200, 1000, 100))["loss"])


def measure(batch_sizes: list[int], rounds: int, threads: int) -> dict[str, float]:
    parameters, figures = read_recipe("demo"), {}
    import torch

    torch.set_num_threads(threads)
    with TemporaryDirectory() as folder:
        for batch_size in batch_sizes:
            for name, job in make_jobs(parameters, Path(folder), 1, batch_size).items():
                step = make_step(job, batch_size)
                calls = recorded(step)
                own, kernels = min(seconds(step) for _ in range(rounds)), alone(calls, rounds)
                print(f"{batch_size:5}  {name:14}{1000 * own:9.1f}{1000 * kernels:9.1f}{own / kernels:7.2f}")
                figures[f"{name}_{batch_size}"] = own / kernels
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with the ratios as one line of JSON")
    arguments = parser.parse_args()
    print(f"{'batch':5}  {'training':14}{'step ms':>9}{'alone ms':>9}{'ratio':>7}")
    figures = measure(arguments.batch_sizes, arguments.rounds, arguments.threads)
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
