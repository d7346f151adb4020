"""Programs that serve pages on the loopback interface."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE = 300
"""Seconds after which a server should answer."""
PORTS = range(20_000, 32_000)
"""Below those of outgoing connections; Kedro-Viz takes none above 49,151."""


def free_port() -> int:
    """A port that nobody listens at."""
    start = os.getpid() % len(PORTS)
    for port in [*PORTS[start:], *PORTS[:start]]:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


@contextmanager
def serving(
    command: Sequence[str | Path], port: int, health: str, folder: Path, **environment: str
) -> Iterator[str]:
    """A server while the context lasts, and all processes that it starts.

    Args:
        command: what serves at the port.
        port: a free one.
        health: path of a page that answers when the server is ready.
        folder: where it runs.
        environment: variables beside those of this process.

    Returns:
        Its address.

    Raises:
        AssertionError: it does not answer, with the end of what it said.
    """
    log = folder / f"server_{port}.log"
    with log.open("ab") as said:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + PATIENCE
        while not _answers(address + health):
            ended = server.poll() is not None or time.monotonic() > end
            assert not ended, log.read_text(errors="replace")[-3000:]
            time.sleep(0.2)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


class MlflowServer:
    """A real `mlflow server` that can be stopped and started again at the same address.

    Args:
        folder: where it keeps its SQLite file, unless `database` is set to another, and its artifacts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = f"sqlite:///{folder}/mlflow.db"
        self._running: ExitStack | None = None

    def start(self) -> None:
        """As `serving` does, unless it runs."""
        if self._running is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={self.port}"]
        command += [f"--backend-store-uri={self.database}", f"--artifacts-destination={self.folder}/files"]
        command += ["--workers=1"]
        with ExitStack() as starting:
            starting.enter_context(
                serving(command, self.port, "/health", self.folder, MLFLOW_DISABLE_TELEMETRY="true")
            )
            self._running = starting.pop_all()

    def stop(self) -> None:
        """As if the machine had lost its power."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
