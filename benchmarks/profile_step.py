"""Where the time of a training step goes: a table and a trace.

Profiles steps of a training by the package's Trainer on made-up faces, loader included, and writes
`profile.txt` (operations by their own time) and `trace.json` (open it in chrome://tracing or Perfetto).

    python -m benchmarks.profile_step [--model part_fvit_tiny_patch8_112] [--out data/08_reporting/profile]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from benchmarks.gpu import CLASSES, STAGES, Case, make_trainer, pack_noise
from lafs_pipeline.runtime.metric_loggers import MetricLogger

WARMUP, STEPS = 2, 3


class StepEnds(MetricLogger):
    """Tells a profiler that a step is over."""

    def __init__(self, profiled: profile) -> None:
        self.profiled = profiled

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        self.profiled.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=STAGES, default="pretrain")
    parser.add_argument("--model", default="part_fvit_tiny_patch8_112")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--prototypes", type=int, default=65_536)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("data/08_reporting/profile"))
    arguments = parser.parse_args()
    case = Case(
        arguments.stage,
        arguments.batch_size,
        arguments.precision,
        "compiled" if arguments.compile else "eager",
        model=arguments.model,
        prototypes=arguments.prototypes,
        classes=CLASSES,
        steps=WARMUP + STEPS,
        workers=arguments.workers,
    )
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    steps = schedule(wait=WARMUP - 1, warmup=1, active=STEPS, repeat=1)
    with (
        TemporaryDirectory() as folder,
        profile(activities=activities, schedule=steps, record_shapes=True) as profiled,
    ):
        manifest = pack_noise(Path(folder) / "noise.rec", 4 * case.batch)
        make_trainer(case, manifest, Path(folder), (StepEnds(profiled),), log_every=1).train()
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    table = profiled.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=60)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "profile.txt").write_text(table)
    profiled.export_chrome_trace(str(arguments.out / "trace.json"))
    print(table)
    print(f"{STEPS} steps; table and trace: {arguments.out}")


if __name__ == "__main__":
    main()
