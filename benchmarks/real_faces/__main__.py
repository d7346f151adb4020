"""Command line of the benchmark on real faces."""

import argparse
import multiprocessing
import time
from dataclasses import fields
from pathlib import Path

from benchmarks.real_faces import __doc__ as description
from benchmarks.real_faces.bench import Plan
from benchmarks.real_faces.data import LABELED, LFW, PEOPLE, UNLABELED, pack, unpacked
from benchmarks.real_faces.table import print_tables
from benchmarks.real_faces.workers import work


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_faces",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    running = commands.add_parser("run")
    for one in (packing, running, commands.add_parser("table")):
        one.add_argument("folder", type=Path)
    for name in ("unlabeled", "labeled", "people"):
        packing.add_argument(f"--{name}", type=Path, required=True)
    packing.add_argument("--lfw", type=Path, nargs=2, metavar=("DIR", "PAIRS"), required=True)
    packing.add_argument("--without", nargs="*", default=[], help="people of the labeled set to leave out")
    running.add_argument("--processes", type=int, default=1)
    running.add_argument("--minutes", type=float, default=1e6, help="start nothing after these")
    running.add_argument("--only", default="", help="tasks whose names begin so, and what they need")
    for field in fields(Plan):
        kind = {"size": str, "rate": float, "koleo": float}.get(field.name, int)
        running.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        lfw, pairs = arguments.lfw
        roots = {
            UNLABELED: arguments.unlabeled,
            LABELED: arguments.labeled,
            PEOPLE: arguments.people,
            LFW: lfw,
        }
        pack(arguments.folder, roots, pairs, arguments.without)
    elif arguments.command == "run":
        plan = Plan(**{field.name: getattr(arguments, field.name) for field in fields(Plan)})
        for stale in (*arguments.folder.glob("results/*.claim"), *arguments.folder.glob("results/*.error")):
            stale.unlink()
        unpacked(arguments.folder)
        until = time.time() + 60 * arguments.minutes
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=work, args=(arguments.folder, plan, until, arguments.only))
            for _ in range(arguments.processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    else:
        print_tables(arguments.folder)


if __name__ == "__main__":
    main()
