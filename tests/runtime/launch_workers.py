"""Workers that the tests of launching run in other processes, and a program that launches one of them.

    python launch_workers.py <worker> <config as JSON> <settings as JSON>

launches and prints the result, or the kind of exception and its message, as JSON in the last line.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError, Stopped
from lafs_pipeline.runtime.launch import launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.stop_signals import StopSignals


def describe_data(config):
    """What arrives of a table and of a mapped array, and whether their numbers are this process's own."""
    table, mapped, part = config
    return {
        "table": table.to_dict("list"),
        "types": table.dtypes.astype(str).to_dict(),
        "index": list(table.index),
        "own": table["number"].to_numpy().flags.owndata,
        "mapped": (type(mapped), mapped.filename, mapped.tolist()),
        "part": part.tolist(),
    }


def describe(config):
    """Say where this process is, with a sum of 10^rank over the group."""
    total = torch.tensor([10.0 ** processes.rank()], dtype=torch.float64)
    mean = processes.all_reduce_mean(total.clone())
    return {
        "config": config,
        "rank": processes.rank(),
        "size": processes.world_size(),
        "sum": mean.item() * processes.world_size(),
        "broadcast": processes.broadcast_object({"from": processes.rank()}, processes.world_size() - 1),
        "agreed": processes.agree_on_stop(f"rank {processes.rank()}" if processes.rank() else None),
        "nothing agreed": processes.agree_on_stop(None),
        "threads": torch.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY"),
        "device": processes.local_device().type,
        "pid": os.getpid(),
    }


def echo(config):
    processes.barrier()
    return config


def unpicklable(config):
    return lambda: config


def fail(config):
    """Rank 1 fails in the way that `config` names while rank 0 waits for it."""
    processes.barrier()
    if processes.rank() == 1:
        if config == "refused":
            raise LafsError("folder x: expected faces, found none; give another")
        if config == "raised":
            raise KeyError("a key that is not there")
        if config == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if config == "exits":
            os._exit(7)
        if config == "hung":
            time.sleep(1000)
    processes.barrier()
    return "not reached"


def fail_once(folder):
    """Rank 1 is killed in its first life; the second continues from what the first has written."""
    mark = Path(folder) / "mark"
    processes.barrier()
    if processes.rank() == 1 and not mark.exists():
        mark.write_text("written in the first life")
        os.kill(os.getpid(), signal.SIGKILL)
    processes.barrier()
    return mark.read_text()


def count_attempts(folder):
    """Refuse every time, leaving one file for each attempt."""
    (Path(folder) / f"{processes.rank()}-{os.getpid()}").touch()
    raise LafsError("never good")


def stop_when_asked(folder):
    """Take steps until a signal comes, then stop together; leaves the process ids and the last step."""
    with StopSignals() as signals:
        start(folder)
        for step in range(100_000):
            time.sleep(0.02)
            reason = processes.agree_on_stop(signals.requested)
            if reason:
                (Path(folder) / f"stopped-{processes.rank()}").write_text(str(step))
                raise Stopped(reason)


def until_told(folder):
    """Work together until the file `go` is there; leaves the process ids of every attempt."""
    (Path(folder) / f"started-{processes.rank()}-{os.getpid()}").touch()
    while not processes.agree_on_stop("go" if (Path(folder) / "go").exists() else None):
        time.sleep(0.02)
    return processes.rank()


def never_stop(folder):
    """Pay no attention to requests."""
    with StopSignals():
        start(folder)
        time.sleep(1000)


def start(folder):
    """Start a child that is tied to this process as a data loader is, and leave both process ids."""
    child = multiprocessing.get_context("fork").Process(target=load, daemon=True)
    child.start()
    new = Path(folder) / f"new-{processes.rank()}"
    new.write_text(json.dumps([os.getpid(), child.pid]))
    new.rename(Path(folder) / f"started-{processes.rank()}")


def load():
    processes.die_with_parent()
    time.sleep(1000)


def two_launches(config):
    """The results of two launches that follow each other in this process."""
    return [launch(describe, number, LaunchSettings(**config)) for number in (1, 2)]


def main(name: str, config: str, settings: str) -> None:
    worker, config, settings = globals()[name], json.loads(config), json.loads(settings)
    try:
        if worker is two_launches:
            outcome = {"result": two_launches(settings)}
        else:
            outcome = {"result": launch(worker, config, LaunchSettings(**settings))}
    except Exception as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(outcome) + "\n")  # at once: several may write to one pipe
    sys.stdout.flush()
    sys.exit("error" in outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])
