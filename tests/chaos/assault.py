"""Starting one training, and killing one of its processes at a drawn moment."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from tests.chaos import processes
from tests.chaos.training import Configuration
from tests.training.small_trainings import training_folder

from lafs_pipeline.training import checkpoints

PROJECT = Path(__file__).parents[2]
PATIENCE = 180.0
"""Seconds without a new step after which a training counts as hung."""
ORPHANS_ALLOWED = 15.0
"""Seconds that processes may outlive the one that started them."""
LONGEST_WAIT = 1.5
"""Seconds of training after which a drawn moment comes at the latest."""
WRITE_SECONDS = 0.02
"""About as long as a small checkpoint takes to be written."""
START_SECONDS = 6.0
"""About as long as a training takes to start."""
KILLED = re.compile(r"rank (\d+) on \S+ \(process (\d+)\) was killed by SIGKILL")


@dataclass
class Kill:
    """One kill and what followed.

    Attributes:
        target: `parent`, `rank 0`, `rank 1`, `loader`, or `write` for the writer of a checkpoint.
        moment: `start` for one drawn over the whole start, `training` or `write`.
        step: newest logged step.
        during_write: whether an unfinished checkpoint was left.
        named: whether the message names the killed rank and process; None where nobody is left to name it.
        outcome: how the program ended, `restarted` where it did not.
        message: its first line.
        orphan_seconds: how long processes outlived it.
    """

    target: str
    moment: str
    step: int = 0
    during_write: bool = False
    named: bool | None = None
    outcome: str = "restarted"
    message: str = ""
    orphan_seconds: float = 0.0


class BrokenPromiseError(AssertionError):
    """A promise of the training was not kept."""


class Program:
    """A started `tests.chaos.training` with its output in a file."""

    def __init__(self, configuration: Configuration, data: Path, folder: Path, log: Path) -> None:
        self.configuration, self.folder, self.log, self.mark = configuration, folder, log, uuid4().hex
        self.first_step, self.leftovers = newest_step(folder), unfinished(folder)
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.chaos.training"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, str(data), str(folder), configuration.name],
                cwd=PROJECT,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", processes.MARK: self.mark},
            )

    def end_all(self) -> None:
        """Leave nothing behind."""
        for pid in processes.marked(self.mark):
            processes.kill(pid)
        self.process.wait()

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = PATIENCE, every: float = 0.02
    ) -> bool:
        """Whether it held before the program ended; a program that gets nowhere is an error."""
        deadline, step = time.monotonic() + seconds, newest_step(self.folder)
        while not condition():
            if self.process.poll() is not None:
                return False
            if (now := newest_step(self.folder)) != step:
                deadline, step = time.monotonic() + seconds, now
            if time.monotonic() > deadline:
                for pid in processes.marked(self.mark):
                    os.kill(pid, signal.SIGABRT)  # writes where it hangs into the log
                raise BrokenPromiseError(f"no progress for {seconds:g} s after step {step}, see {self.log}")
            time.sleep(every)
        return True

    def victims(self, target: str, generator: random.Random) -> list[int]:
        """The process to kill, where there is one now."""
        parent = self.process.pid
        trainers = processes.children(parent) if self.configuration.processes > 1 else [parent]
        if target == "parent":
            return [parent]
        if target.startswith("rank "):
            return trainers[int(target.removeprefix("rank ")) :][:1]
        if target == "write":
            return [generator.choice([parent, *trainers[:1]])] if trainers else []
        found = [loader for trainer in trainers for loader in processes.children(trainer)]
        return [generator.choice(found)] if found else []

    def outcome(self) -> tuple[str, str]:
        """How it ended, and the message."""
        if self.process.wait() < 0:
            return f"signal {-self.process.returncode}", ""
        lines = self.log.read_text(errors="replace").splitlines()
        ends = [json.loads(line) for line in lines if line.startswith('{"outcome"')]
        return (ends[-1]["outcome"], ends[-1]["message"]) if ends else ("no word", "\n".join(lines[-3:]))

    def wait_for_orphans(self) -> float:
        """Seconds until no process of it is left."""
        start = time.monotonic()
        while left := processes.marked(self.mark):
            if time.monotonic() - start > ORPHANS_ALLOWED:
                raise BrokenPromiseError(
                    f"processes {left} outlive the training of {self.log} by {ORPHANS_ALLOWED:g} s"
                )
            time.sleep(0.05)
        return time.monotonic() - start

    def skipped(self) -> int:
        """How many checkpoints it found damaged, whatever the number of processes that told."""
        return len(set(re.findall(r"skipped checkpoint: (\S+?/step-\d+)", self._text())))

    def restarts(self) -> int:
        """How often its workers were started anew."""
        return self._text().count("restarting, ")

    def killed_ranks(self) -> set[tuple[int, int]]:
        """(rank, process id) of every worker that was reported as killed."""
        return {(int(rank), int(pid)) for rank, pid in KILLED.findall(self._text())}

    def _text(self) -> str:
        return self.log.read_text(errors="replace")


def newest_step(folder: Path) -> int:
    """Of the checkpoints of a folder, which may change while it is looked at."""
    try:
        found = checkpoints.candidates(training_folder(folder))
        return max(map(checkpoints.step_of, found), default=0)
    except FileNotFoundError:
        return newest_step(folder)


def unfinished(folder: Path) -> set[tuple[str, int]]:
    """Checkpoints that are being written or removed, or that a killed training left so."""
    found = set()
    for path in training_folder(folder).glob(f"{checkpoints.TEMPORARY}*"):
        with suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def assault(program: Program, generator: random.Random, targets: Sequence[str]) -> Iterator[Kill]:
    """Kill one target after the other until the program has ended; it need not have ended after the last."""
    seen = program.first_step
    for number, target in enumerate(targets):
        restarts = program.restarts()
        at_start = number == 0 and target != "loader" and generator.random() < 0.2
        kill = Kill(target, "write" if target == "write" else "start" if at_start else "training")
        victims = _wait_for_moment(program, kill, seen, generator)
        if not victims or not processes.kill(victims[0]):
            return
        seen = kill.step = newest_step(program.folder)
        if _ended(program, victims[0], restarts):
            kill.outcome, message = program.outcome()
            kill.message = message.partition("\n")[0]
            kill.orphan_seconds = round(program.wait_for_orphans(), 2)
            kill.during_write = bool(unfinished(program.folder) - program.leftovers)
        _judge(program, kill, victims[0])
        yield kill
        if kill.outcome != "restarted":
            return


def _wait_for_moment(program: Program, kill: Kill, seen: int, generator: random.Random) -> list[int]:
    """The victim, at the moment to kill it; nothing when the program ended before."""
    if kill.moment == "start":
        time.sleep(generator.uniform(0, START_SECONDS))
    else:
        if not program.wait_until(lambda: newest_step(program.folder) > seen):
            return []
        time.sleep(generator.uniform(0, LONGEST_WAIT))
    if kill.moment == "write":
        if not program.wait_until(lambda: bool(unfinished(program.folder)), every=0.0002):
            return []
        time.sleep(generator.uniform(0, WRITE_SECONDS))
    victims: list[int] = []

    def there() -> bool:
        victims[:] = program.victims(kill.target, generator)
        return bool(victims)

    return victims if program.wait_until(there) and program.process.poll() is None else []


def _ended(program: Program, victim: int, restarts: int) -> bool:
    """Whether the program ended after the kill, and did not restart its workers."""
    if victim == program.process.pid or program.configuration.restarts == 0:
        program.wait_until(lambda: False)
        return True
    return not program.wait_until(lambda: program.restarts() > restarts)


def _judge(program: Program, kill: Kill, victim: int) -> None:
    """Hold the end of a program against what it promises."""
    if victim == program.process.pid:
        if kill.outcome != "signal 9":
            raise BrokenPromiseError(f"the killed parent ended with {kill.outcome}, see {program.log}")
        return
    if kill.outcome not in ("restarted", "WorkerFailed", "LafsError", "RuntimeError"):
        raise BrokenPromiseError(f"killed {kill.target} led to {asdict(kill)}, see {program.log}")
    if kill.target.startswith(("rank", "write")):
        rank = int(kill.target[-1]) if kill.target != "write" else 0
        kill.named = (rank, victim) in program.killed_ranks()
