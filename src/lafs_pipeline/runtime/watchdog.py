"""Finds the process of a group that hangs, and ends the group.

Every rank publishes a heartbeat and its progress through a store, and every rank watches all others, so
that the hang of any rank is found, that of rank 0 included.
"""

import faulthandler
import json
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from torch.distributed import Store

logger = logging.getLogger(__name__)

LONGEST_INTERVAL = 2.0
"""Seconds between heartbeats; shorter for short time-outs."""
VERDICT = "verdict"


@dataclass
class Beat:
    """What a rank publishes: how many heartbeats, how much progress, and where it is.

    Attributes:
        moved: seconds since 1970 of the last progress.
        waiting: whether it is in a call of `torch.distributed`, where it waits for the others.
    """

    host: str
    pid: int
    beats: int = 0
    moves: int = 0
    step: int = 0
    phase: str = "starting"
    moved: float = field(default_factory=time.time)
    waiting: bool = False
    done: bool = False


_current: "Watchdog | None" = None


def progress(step: int, phase: str) -> None:
    """Tell the watchdog that this rank has got somewhere; without one (no process group) nothing happens.

    Args:
        step: the optimiser step in progress.
        phase: what comes next, as it shall read in the message when it hangs: `loading batch`.
    """
    if _current is not None:
        _current.progress(step, phase)


class Watchdog:
    """One rank's heartbeat and its eye on the others, in a daemon thread."""

    def __init__(
        self, store: Store, rank: int, size: int, host: str, timeout: float, on_hang: Callable[[str], None]
    ) -> None:
        """Publish the first heartbeat; nothing is watched before it is entered.

        Args:
            store: used by this watchdog alone, since a blocking call of another thread would silence it.
            rank: of this process.
            size: of the group.
            host: name of this host.
            timeout: seconds without a heartbeat of a rank, or without progress of any, after which the group
                is ended.
            on_hang: is called with the verdict before this process ends itself.
        """
        self._store, self._rank, self._ranks = store, rank, range(size)
        self._timeout, self._on_hang = timeout, on_hang
        self._interval = min(LONGEST_INTERVAL, timeout / 4)
        self._beat = Beat(host, os.getpid())
        self._seen: dict[int, Beat] = {}
        self._heard: dict[int, float] = {}
        self._last_move = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._publish()

    def __enter__(self) -> "Watchdog":
        global _current
        _current = self
        self._heard = dict.fromkeys(self._ranks, time.monotonic())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        global _current
        _current = None
        self._stop.set()
        self._thread.join(self._interval)
        faulthandler.cancel_dump_traceback_later()
        if kind is None and not self._thread.is_alive():
            self._beat.done = True
            with suppress(RuntimeError):  # rank 0 may be gone already, and the store with it
                self._publish()

    def progress(self, step: int, phase: str) -> None:
        """As :func:`progress`."""
        beat = self._beat
        beat.step, beat.phase, beat.moved = step, phase, time.time()
        beat.moves += 1

    def _publish(self) -> None:
        self._beat.beats += 1
        self._beat.waiting = _main_thread_is_in_a_collective()
        self._store.set(str(self._rank), json.dumps(asdict(self._beat)))

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            # Written in C and without the interpreter lock: it ends this process even where neither this
            # thread nor the store gets on any more.
            patience = 1.5 * self._timeout + 2 * self._interval
            faulthandler.dump_traceback_later(patience, exit=True, file=sys.__stderr__)
            try:
                self._publish()
                self._listen()
                verdict = self._verdict()
            except RuntimeError as error:
                logger.debug("the watchdog's store failed: %s", error)
                continue
            if verdict and not self._stop.is_set():
                self._end(verdict)

    def _listen(self) -> None:
        now = time.monotonic()
        ranks = [rank for rank in self._ranks if rank in self._seen or self._store.check([str(rank)])]
        for rank, text in zip(ranks, self._store.multi_get(list(map(str, ranks))), strict=True):
            beat = Beat(**json.loads(text))
            before = self._seen.get(rank)
            if before is None or beat.beats != before.beats:
                self._heard[rank] = now
            if before is None or beat.moves != before.moves or beat.done:
                self._last_move = now
            self._seen[rank] = beat

    def _verdict(self) -> str | None:
        if self._store.check([VERDICT]):
            return self._store.get(VERDICT).decode()
        now = time.monotonic()
        beats = {rank: beat for rank, beat in self._seen.items() if not beat.done}
        stalled = bool(beats) and now - self._last_move > self._timeout
        patience = 3 * self._interval if stalled else self._timeout
        silence = {r: now - heard for r, heard in self._heard.items() if r in beats or r not in self._seen}
        silent = [rank for rank, seconds in silence.items() if seconds > patience]
        if silent:
            verdict = "; ".join(
                f"{self._who(rank)} stopped answering at {self._where(rank)} {silence[rank]:.0f} s ago"
                for rank in silent
            )
        elif stalled:
            first, *others = sorted(beats, key=lambda rank: _least_progress(beats[rank]))
            verdict = f"{self._who(first)} made no progress at {self._where(first)} for {self._timeout:g} s"
            if others:
                verdict += f"; others: {', '.join(f'rank {r} at {self._where(r)}' for r in others[:8])}"
        else:
            return None
        return self._store.compare_set(VERDICT, "", verdict).decode()

    def _who(self, rank: int) -> str:
        beat = self._seen.get(rank)
        return f"rank {rank}" + (f" on {beat.host} (process {beat.pid})" if beat else "")

    def _where(self, rank: int) -> str:
        beat = self._seen.get(rank)
        if beat is None:
            return "its start"
        return f"step {beat.step} ({beat.phase}{', waiting for others' if beat.waiting else ''})"

    def _end(self, verdict: str) -> None:
        self._on_hang(verdict)
        print(f"rank {self._rank} is ended by the watchdog: {verdict}", file=sys.__stderr__, flush=True)
        faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        for child in multiprocessing.active_children():
            child.kill()
        time.sleep(2 * self._interval)  # the others lose their connection to this process when it ends
        os._exit(1)


def _least_progress(beat: Beat) -> tuple[int, bool, float]:
    """Sorts the rank that the others wait for to the front: at an equal step it stood still first."""
    return beat.step, beat.waiting, beat.moved


def _main_thread_is_in_a_collective() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident)
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.distributed.distributed_c10d":
            return True
        frame = frame.f_back
    return False
