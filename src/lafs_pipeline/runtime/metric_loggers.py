"""Where metrics go while a training runs."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

METRICS_FILE = "metrics.jsonl"
"""Name of the file, beside the checkpoints, that has every metric of a training."""


class MetricLogger(Protocol):
    """Receives metrics live; implementations must not raise for a value that is not finite."""

    def open(self, folder: Path) -> None:
        """Prepare for a training that writes into `folder`; called once, before the first `log`."""

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Take the metrics of optimizer step `step`, when the training has seen so many images."""

    def close(self) -> None:
        """Bring what was taken to its place; called once, after the last `log` or instead of any."""


@runtime_checkable
class ImageLogger(Protocol):
    """A logger that also receives pictures; for others none are drawn."""

    def log_image(self, name: str, image: np.ndarray, images_seen: int) -> None:
        """Take a picture (H, W, 3) uint8 RGB, drawn when the training has seen so many images."""


class JsonLinesLogger(MetricLogger):
    """Appends one JSON object per call: `{"step": ..., "images_seen": ..., "time_ms": ..., <metric>: ...}`.

    `time_ms` is the wall time in milliseconds since 1970. Pictures are not kept.

    Args:
        path: of the file.
        resume_step: the step that the training resumes from: lines of later steps, and one that a killed
            training did not finish, are dropped, so that the file reads as if nothing had broken off. None
            starts a new file.

    Raises:
        LafsError: when the file cannot be written.
    """

    def __init__(self, path: Path | str, resume_step: int | None = None) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if resume_step is None:
                self.path.unlink(missing_ok=True)
            elif self.path.exists():
                with whole_file(self.path) as kept:
                    kept.write_text("".join(_lines_until(self.path, resume_step)), encoding="utf-8")
        except OSError as error:
            raise _not_written(self.path, error) from error

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Append one line.

        Raises:
            LafsError: when the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                line = {"step": step, "images_seen": images_seen, "time_ms": int(time.time() * 1000)}
                stream.write(json.dumps(line | dict(metrics)) + "\n")
        except OSError as error:
            raise _not_written(self.path, error) from error


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a metrics file; one that a killed training did not finish is left out."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                record = json.loads(line)
                int(record["step"])
            except (ValueError, KeyError, TypeError):
                continue
            yield record


def _not_written(path: Path, error: OSError) -> LafsError:
    """What to tell the user when a file of metrics cannot be written."""
    return LafsError(
        f"metrics could not be written to {path}: {error}. Make room or make the folder writable, then start "
        "the same run again: it resumes from the newest checkpoint"
    )


def _lines_until(path: Path, last_step: int) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                kept = line.endswith("\n") and json.loads(line)["step"] <= last_step
            except (ValueError, KeyError, TypeError):
                kept = False
            if kept:
                yield line
