"""Where metrics go while a training runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class MetricSink(Protocol):
    """Receives metrics live; implementations must not raise for a value that is not finite."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Take the metrics of optimiser step `step`."""


class JsonLinesSink:
    """Appends one JSON object a call: `{"step": ..., <metric>: ...}`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **metrics}) + "\n")
