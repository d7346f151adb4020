"""Does a training that is killed again and again end as if nothing had happened?

    python -m tests.chaos [--kills 7] [--minutes 60] [--seed 0] [--folder FOLDER] [--only NAME ...]

Every configuration is trained once without disturbance. The same training is then killed with SIGKILL at
drawn moments and started again until it ends, round after round, until it was killed often enough; now and
then its newest checkpoint is damaged besides. All weights, the optimizer's state and all metrics of every
round must be those of the undisturbed run, bit for bit, and no process may be left behind.

With --folder a run that was broken off goes on where it was. Ends with status 1 when a promise was broken.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.chaos.assault import BrokenPromiseError, Program, assault, newest_step
from tests.chaos.training import CONFIGURATIONS, MANIFEST, Configuration
from tests.training.small_trainings import difference, draw_faces, training_folder

from lafs_pipeline.training import checkpoints

DAMAGE = 0.15
"""Share of the starts before which the newest of several checkpoints is damaged."""


class Book:
    """Everything that happened, one JSON object a line, so that a run can resume from it."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self.entries = [json.loads(line) for line in path.open()] if path.exists() else []

    def note(self, configuration: Configuration, what: str, **details) -> None:
        entry = {"configuration": configuration.name, "what": what, **details}
        self.entries.append(entry)
        line = json.dumps(entry)
        with self._lock, self.path.open("a") as stream:
            stream.write(line + "\n")
        print(line, flush=True)

    def of(self, configuration: Configuration, what: str) -> list[dict]:
        return [
            entry
            for entry in self.entries
            if entry["configuration"] == configuration.name and entry["what"] == what
        ]


def prepare(folder: Path) -> None:
    """Faces, once."""
    if not (folder / MANIFEST).exists():
        draw_faces(folder, identities=8, images=8).to_parquet(folder / MANIFEST)


def undisturbed(configuration: Configuration, folder: Path, book: Book) -> Path:
    """The run that the others are held against, once."""
    reference = folder / f"{configuration.name}-undisturbed"
    if book.of(configuration, "undisturbed"):
        return reference
    shutil.rmtree(reference, ignore_errors=True)
    program = Program(configuration, folder, reference, folder / f"{reference.name}.log")
    try:
        outcome, message = program.outcome()
    finally:
        program.end_all()
    if outcome != "finished":
        raise BrokenPromiseError(f"the undisturbed run ended with {outcome}: {message}; see {program.log}")
    book.note(configuration, "undisturbed")
    return reference


def damage_newest(folder: Path, generator: random.Random) -> str | None:
    """Shorten a file of the newest checkpoint or change a byte of it, where an older one is left."""
    found = checkpoints.candidates(training_folder(folder))
    if len(found) < 2 or generator.random() > DAMAGE:
        return None
    name = generator.choice([checkpoints.WEIGHTS, checkpoints.OPTIMIZER, checkpoints.RECORD])
    path = found[0] / name
    data = bytearray(path.read_bytes())
    place = generator.randrange(len(data))
    if generator.random() < 0.5:
        data = data[:place]
    else:
        data[place] ^= 0x10
    path.write_bytes(data)
    return f"{found[0].name}/{name}"


def disturbed(configuration: Configuration, folder: Path, book: Book, options: argparse.Namespace) -> None:
    """Rounds of kills until there were enough."""
    reference = undisturbed(configuration, folder, book)
    while left(configuration, book, options):
        target = folder / f"{configuration.name}-round-{len(book.of(configuration, 'round'))}"
        while not started_and_killed(configuration, folder, target, book, options):
            pass
        found = difference(reference, target)
        book.note(configuration, "round", difference=found)
        if found:
            raise BrokenPromiseError(f"{target} differs from {reference}: {found}")
        shutil.rmtree(target)


def left(configuration: Configuration, book: Book, options: argparse.Namespace) -> list[str]:
    """Who is still to be killed."""
    targets = configuration.targets(options.kills)[len(book.of(configuration, "kill")) :]
    return targets if time.monotonic() < options.end else []


def started_and_killed(
    configuration: Configuration, folder: Path, target: Path, book: Book, options: argparse.Namespace
) -> bool:
    """One start with its kills; whether the training has come to its end."""
    number = len(book.of(configuration, "start"))
    generator = random.Random(f"{options.seed}/{configuration.name}/{number}")
    damaged = damage_newest(target, generator)
    if newest_step(target):
        book.note(configuration, "resume", step=newest_step(target), damaged=damaged)
    program = Program(configuration, folder, target, folder / f"{configuration.name}-{number}.log")
    kills = 0
    try:
        for kill in assault(program, generator, left(configuration, book, options)):
            book.note(configuration, "kill", **asdict(kill))
            kills += 1
        outcome, message = program.outcome()
        program.wait_for_orphans()
    finally:
        program.end_all()
    counts = {"restarts": program.restarts(), "skipped": program.skipped()}
    book.note(configuration, "start", outcome=outcome, **counts)
    if outcome != "finished" and not kills:
        raise BrokenPromiseError(f"nobody was killed and yet: {outcome} {message}; see {program.log}")
    return outcome == "finished"


def summary(configuration: Configuration, book: Book, kills: int) -> list[dict[str, int | float | str]]:
    """The lines of the table, one for each kind of victim."""
    killed, rounds, resumes = (book.of(configuration, what) for what in ("kill", "round", "resume"))
    identical = sum(entry["difference"] is None for entry in rounds)
    broken = bool(book.of(configuration, "broken"))
    rows = []
    for target in dict.fromkeys(configuration.targets(kills)):
        own = [kill for kill in killed if kill["target"] == target]
        rows.append(
            {
                "stage": configuration.stage,
                "processes": configuration.processes,
                "restarts": configuration.restarts,
                "victim": target,
                "kills": len(own),
                "hit a write": sum(kill["during_write"] for kill in own),
                "not named": sum(kill["named"] is False for kill in own),
                "orphans s": max((kill["orphan_seconds"] for kill in own), default=0.0),
                "resumes": len(resumes),
                "damaged": sum(entry["damaged"] is not None for entry in resumes),
                "verdict": "BROKEN" if broken else f"{identical} of {len(rounds)} trainings identical",
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    """Columns of equal width."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=7, help="of each configuration")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which nothing more is killed")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--seed", type=int, default=0, help="of targets and moments")
    parser.add_argument("--folder", type=Path, help="that is kept, and that a run goes on in")
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    options = parser.parse_args()
    options.end = time.monotonic() + 60 * options.minutes
    signal.signal(signal.SIGTERM, lambda *_: setattr(options, "end", 0.0))  # the trainings end undisturbed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="lafs-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    book = Book(folder / "events.jsonl")
    prepare(folder)
    wanted = [CONFIGURATIONS[name] for name in options.only]

    def judge(configuration: Configuration) -> None:
        try:
            if time.monotonic() < options.end:
                disturbed(configuration, folder, book, options)
        except BrokenPromiseError as error:
            book.note(configuration, "broken", text=str(error))

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(judge, wanted))
    rows = [row for configuration in wanted for row in summary(configuration, book, options.kills)]
    print(table(rows))
    print(f"kills: {sum(row['kills'] for row in rows)}")
    broken = any(row["verdict"] == "BROKEN" for row in rows)
    if options.folder is None and not broken:
        shutil.rmtree(folder)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
