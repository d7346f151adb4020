"""How long `kedro run` needs besides its work: before its first node, and after its last.

    python -m benchmarks.startup [--rounds N] [--json]

A whole run of the smoke environment into a temporary folder comes first; then `kedro run --env smoke
--pipelines=evaluate` runs N times on it. `before_seconds` end when the first node begins, `nodes_seconds`
when the results are told, which includes importing torch and scikit-learn, and `after_seconds` when the
process is gone. `mistake_seconds` is a whole run with a parameter that is out of its
range, up to its message and its end. `libraries_seconds`, for comparison in the same round, is a Python
that only imports what Kedro and MLflow are started with. The least of the rounds, since other work on the
machine only adds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

KEDRO = Path(sys.executable).with_name("kedro")
RUN = [KEDRO, "run", "--env", "smoke"]
MISTAKE = ["--params", "pretrain.prototypes=-3"]
FIRST, LAST = "step 1 of", "Next: "
LIBRARIES = "import kedro.framework.cli, pandas, mlflow.store.tracking.sqlalchemy_store"


def seconds_until(command: list[str | Path], environment: Mapping[str, str]) -> dict[str, float]:
    """When a run says that its first node begins and what to do next, and when it ends."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    times: dict[str, float] = {}
    for line in process.stdout:
        said.append(line)
        if FIRST in line:
            times.setdefault("first", time.perf_counter() - start)
        elif LAST in line:
            times["last"] = time.perf_counter() - start
    if process.wait() or len(times) < 2:
        raise SystemExit("".join(said))
    return times | {"end": time.perf_counter() - start}


def measure(folder: Path, rounds: int) -> dict[str, float]:
    environment = os.environ | {
        "LAFS_DATA": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "250",
    }
    subprocess.run(RUN, env=environment, check=True, stdout=subprocess.DEVNULL)
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        times = seconds_until([*RUN, "--pipelines=evaluate"], environment)
        start = time.perf_counter()
        subprocess.run([*RUN, *MISTAKE], env=environment, capture_output=True)
        refused = time.perf_counter()
        subprocess.run([sys.executable, "-c", LIBRARIES], check=True, capture_output=True)
        found.append(
            {
                "before_seconds": times["first"],
                "nodes_seconds": times["last"] - times["first"],
                "after_seconds": times["end"] - times["last"],
                "mistake_seconds": refused - start,
                "libraries_seconds": time.perf_counter() - refused,
            }
        )
    figures = {name: min(one[name] for one in found) for name in found[0]}
    return figures | {
        "before_to_libraries": figures["before_seconds"] / figures["libraries_seconds"],
        "mistake_beyond_libraries": min(one["mistake_seconds"] - one["libraries_seconds"] for one in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs whose least times are shown")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = {key: round(value, 2) for key, value in measure(Path(name), arguments.rounds).items()}
    for key, value in figures.items():
        print(f"{key:26}{value:>10.2f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
