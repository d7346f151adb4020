"""Where metrics go while a training runs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file


class MetricSink(Protocol):
    """Receives metrics live; implementations must not raise for a value that is not finite."""

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Take the metrics of optimiser step `step`, when the training has seen so many images."""

    def close(self) -> None:
        """Bring what was taken to its place; called once, after the last `log` or instead of any."""


@runtime_checkable
class ImageSink(Protocol):
    """A sink that also receives pictures; for others none are drawn."""

    def log_image(self, name: str, image: np.ndarray, images_seen: int) -> None:
        """Take a picture (H, W, 3) uint8 RGB, drawn when the training has seen so many images."""


class JsonLinesSink:
    """Appends one JSON object a call: `{"step": ..., "images_seen": ..., <metric>: ...}`.

    Args:
        path: of the file.
        resume_step: the step that the training goes on from: lines of later steps, and one that a killed
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
            raise metrics_not_written(self.path, error) from error

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        """Append one line.

        Raises:
            LafsError: when the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": step, "images_seen": images_seen, **metrics}) + "\n")
        except OSError as error:
            raise metrics_not_written(self.path, error) from error

    def close(self) -> None:
        """Nothing is left to do: every line is written when it is logged."""


def metrics_not_written(path: Path, error: OSError) -> LafsError:
    """What to tell the user when a file of metrics cannot be written."""
    return LafsError(
        f"metrics could not be written to {path}: {error}. Make room or make the folder writable, then start "
        "the same run again: it goes on from the newest checkpoint"
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
