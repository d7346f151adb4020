"""Signals that ask a training to stop: the first one politely, the second one at once."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

STOP_SIGNALS = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, n))
AGENT_SIGNALS = tuple(
    getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, n)
)
"""For these torch's elastic agent installs handlers when it starts workers."""
SAME_REQUEST = 1.0
"""Seconds within which signals count as one request: a job manager often sends its signal to a process and
to the processes' parent, which passes it on."""


class StopSignals:
    """Counts SIGTERM, SIGINT and SIGUSR1 while it is open, so that a step can be finished and saved.

    A second signal ends the process at once, as `KeyboardInterrupt` (SIGINT) or `SystemExit(128 + number)`;
    in a process started by multiprocessing the parent decides about that, and the second is ignored. Only
    the main thread may handle signals: opened in another one it does nothing. One that is opened inside
    another sees what the outer one saw.
    """

    def __init__(
        self, on_first: Callable[[int], None] | None = None, on_second: Callable[[int], None] | None = None
    ) -> None:
        """Prepare; nothing is handled before it is entered.

        Args:
            on_first: is called in the signal handler with the number of the first signal.
            on_second: is called in the signal handler before the second signal ends the process.
        """
        self._on_first, self._on_second = on_first or _ignore, on_second or _ignore
        self._outer: StopSignals | None = None
        self._requested: str | None = None
        self._time = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
            if isinstance(owner, StopSignals):
                self._outer = owner
                self._swap_calls()
            else:
                self._process = os.getpid()
                self._previous = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is not None:
            self._swap_calls()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _swap_calls(self) -> None:
        """While this one is open inside another, the other calls what this one was given."""
        outer = self._outer
        outer._on_first, self._on_first = self._on_first, outer._on_first
        outer._on_second, self._on_second = self._on_second, outer._on_second

    @property
    def requested(self) -> str | None:
        """The name of the first signal, or None as long as none came."""
        return self._outer.requested if self._outer else self._requested

    def _receive(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._receive_in_a_fork(number)
        elif self._requested is None:
            self._requested, self._time = signal.Signals(number).name, time.monotonic()
            self._on_first(number)
        elif time.monotonic() - self._time > SAME_REQUEST and multiprocessing.parent_process() is None:
            self._on_second(number)
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)

    @staticmethod
    def _receive_in_a_fork(number: int) -> None:
        """A data loader must outlive Ctrl-C and SIGUSR1 sent to all, but end when it is terminated."""
        if number == signal.SIGTERM:
            os._exit(128 + number)


def _ignore(_: int) -> None:
    pass


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold signals back while workers are started, and keep the handlers that are installed.

    Workers inherit the holding; they call :func:`release_signals` once they can handle a signal, so that
    none is lost and none ends a worker that is still importing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # on its start it would release them
    handlers = {number: signal.getsignal(number) for number in AGENT_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*AGENT_SIGNALS, *STOP_SIGNALS})
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Receive what :func:`signals_held` held back in the process that started this one."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*AGENT_SIGNALS, *STOP_SIGNALS})
