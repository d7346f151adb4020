"""Where the time of a training step goes: a table and a trace.

Profiles steps of the package's pretraining on made-up faces, loader included, and writes `profile.txt`
(operations by their own time) and `trace.json` (open it in chrome://tracing or Perfetto).

    python -m benchmarks.profile_step [--model part_fvit_tiny_patch8_112] [--out data/08_reporting/profile]
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.gpu import Case, batches, pack_noise, prepare
from benchmarks.pretrain_step import PROGRESS

WARMUP, STEPS = 2, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="part_fvit_tiny_patch8_112")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--prototypes", type=int, default=65_536)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("data/08_reporting/profile"))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = Case(arguments.batch_size, arguments.precision, arguments.compile)
    _, stepper = prepare(case, arguments.model, arguments.prototypes, device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with TemporaryDirectory() as folder:
        manifest = pack_noise(Path(folder) / "noise.rec", 4 * case.batch_size)
        source = batches(manifest, case, device, WARMUP + STEPS, arguments.workers)
        for _ in range(WARMUP):
            stepper([next(source)], PROGRESS)
        with profile(activities=activities, record_shapes=True) as profiled:
            for _ in range(STEPS):
                with record_function("wait for a batch"):
                    batch = next(source)
                with record_function("step"):
                    float(stepper([batch], PROGRESS)["loss"])
        source.close()
    key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    table = profiled.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=60)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "profile.txt").write_text(table)
    profiled.export_chrome_trace(str(arguments.out / "trace.json"))
    print(table)
    print(f"{STEPS} steps; table and trace: {arguments.out}")


if __name__ == "__main__":
    main()
