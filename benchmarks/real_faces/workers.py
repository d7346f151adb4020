"""Processes that share the tasks."""

import logging
import time
import traceback
from contextlib import suppress
from pathlib import Path

import cv2
import torch

from benchmarks.real_faces.bench import Bench, Plan
from benchmarks.real_faces.tasks import Task, plan_tasks


def claimed(path: Path) -> bool:
    with suppress(FileExistsError):
        path.touch(exist_ok=False)
        return True
    return False


def wanted(tasks: list[Task], only: str) -> list[Task]:
    """The tasks whose names begin so, and what they need."""
    names = {task[0] for task in tasks if task[0].startswith(only)}
    for name, _, needs in reversed(tasks):
        names.update(needs if name in names else ())
    return [task for task in tasks if task[0] in names]


def undone(tasks: list[Task], results: Path) -> list[Task]:
    """The tasks that nobody has done or is doing, and that neither failed nor need what failed."""
    failed = {path.stem for path in results.glob("*.error")}
    for name, _, needs in tasks:
        failed.update({name} if failed.intersection(needs) else ())
    over = {path.stem for suffix in (".json", ".claim") for path in results.glob(f"*{suffix}")}
    return [task for task in tasks if task[0] not in failed | over]


def work(folder: Path, plan: Plan, until: float, only: str) -> None:
    """Do one task after the other that nobody else does and that has what it needs."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.set_float32_matmul_precision("high")
    logging.basicConfig(level=logging.WARNING)
    bench, results = Bench(folder, plan), folder / "results"
    while time.time() < until:
        open_tasks = undone(wanted(plan_tasks(), only), results)
        if not open_tasks:
            return
        ready = (task for task in open_tasks if all((results / f"{need}.json").exists() for need in task[2]))
        task = next((task for task in ready if claimed(results / f"{task[0]}.claim")), None)
        if task is None:
            time.sleep(1)
            continue
        name, (function, *arguments), _ = task
        started = time.monotonic()
        try:
            bench.record(name, function(bench, *arguments), started)
            print(f"{time.time():.0f} {name}: {time.monotonic() - started:.0f} s", flush=True)
        except Exception:
            (results / f"{name}.error").write_text(traceback.format_exc())
            print(f"{name} failed:\n{traceback.format_exc()}", flush=True)
        finally:
            (results / f"{name}.claim").unlink(missing_ok=True)
