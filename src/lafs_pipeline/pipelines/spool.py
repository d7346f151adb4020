"""Metrics and pictures that wait in a file until MLflow has taken them."""

import base64
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lafs_pipeline.runtime.sinks import metrics_not_written

LARGEST_BATCH = 1000
"""Metrics that MLflow takes in one call."""


class Waiting(NamedTuple):
    """A logged number or picture (PNG): `timestamp` in milliseconds since 1970."""

    name: str
    value: float | bytes
    timestamp: int
    step: int


class Spool:
    """A queue in a file, with one line a logged step; filled by one thread and emptied by another.

    What a killed process had logged, but not taken out again, is still there. A line starts with its line
    break, so that the one it did not finish spoils no other.

    Args:
        path: of the file.
        largest_batch: values that MLflow takes in one call.
    """

    def __init__(self, path: Path, largest_batch: int = LARGEST_BATCH) -> None:
        self.path, self._largest = path, largest_batch
        self._taken = 0
        self._lock = threading.Lock()

    def append(self, values: Mapping[str, float | bytes], timestamp: int, step: int) -> None:
        """Put the values of a step at the end.

        Raises:
            LafsError: when the file cannot be written.
        """
        names, size = list(values), self._largest
        parts = [names[start : start + size] for start in range(0, len(names), size)]
        rows = [[timestamp, step, {name: _written(values[name]) for name in part}] for part in parts]
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write("".join(f"\n{json.dumps(row)}" for row in rows))
        except OSError as error:
            raise metrics_not_written(self.path, error) from error

    def peek(self) -> tuple[list[Waiting], int]:
        """The first values, at most what MLflow takes at once, and what `take` is to be told about them."""
        values: list[Waiting] = []
        with self._lock:
            end = self._taken
            if not self.path.exists():
                return values, end
            with self.path.open("rb") as stream:
                stream.seek(end)
                for line in stream:
                    found = _parse(line)
                    if len(values) + len(found) > self._largest:
                        break
                    values += found
                    end += len(line)
        return values, end

    def take(self, end: int) -> None:
        """Take out what `peek` has shown; the file is empty when nothing is left."""
        with self._lock:
            self._taken = end
            if self.path.exists() and self.path.stat().st_size <= end:
                self.path.unlink()
                self._taken = 0


def _written(value: float | bytes) -> float | str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else float(value)


def _read(value: float | str) -> float | bytes:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else float(value)


def _parse(line: bytes) -> list[Waiting]:
    """The values of a line; none of one that a killed process did not finish."""
    try:
        timestamp, step, values = json.loads(line)
        return [Waiting(name, _read(value), int(timestamp), int(step)) for name, value in values.items()]
    except (ValueError, TypeError, AttributeError):
        return []
