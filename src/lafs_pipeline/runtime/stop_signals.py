"""Signals that ask a training to stop: the first one politely, the second one at once."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

STOP_SIGNALS = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, n))
SAME_REQUEST = 1.0
"""Seconds within which signals count as one: job managers often signal a process and its parent."""


class StopSignals:
    """Counts SIGTERM, SIGINT and SIGUSR1 while it is open, so that a step can be finished and saved.

    A second signal ends the process, as `KeyboardInterrupt` (SIGINT) or `SystemExit(128 + number)`; in a
    worker the parent decides about that. Signals held back before arrive when it opens. In another thread
    than the main one it does nothing.
    """

    file: ClassVar[Path | None] = None
    """Where the parent of a worker writes the name of the signal that it received."""

    def __enter__(self) -> "StopSignals":
        self._signal: str | None = None
        self._time, self._process = 0.0, os.getpid()
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}
            self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> str | None:
        """The name of the first signal to this process or its parent, or None as long as none came."""
        if self._signal is None and self.file is not None and self.file.exists():
            return self.file.read_text() or None
        return self._signal

    def _receive(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork that loads data, to which the first signal went as well
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif self._signal is None:
            self._signal, self._time = signal.Signals(number).name, time.monotonic()
        elif time.monotonic() - self._time > SAME_REQUEST and multiprocessing.parent_process() is None:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
