"""Folders of trainings: one per configuration, named after its digest, with checkpoints and metrics."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import METRICS_FILE
from lafs_pipeline.runtime.settings import flattened
from lafs_pipeline.training.checkpoints import NAME, candidates, clear, read_record

logger = logging.getLogger(__name__)

DIGITS = 12
FOLDER = re.compile(rf"[0-9a-f]{{{DIGITS}}}(?:-([1-9]\d*))?")
LONGEST_VALUE = 40
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class TrainingFolder:
    """A training as its newest readable checkpoint describes it.

    Attributes:
        path: its folder.
        step: finished steps; 0 without a checkpoint.
        configuration: everything that decides the result; empty without a checkpoint.
        written: when its newest checkpoint, or without one its metrics, were written, seconds since 1970.
    """

    path: Path
    step: int
    configuration: dict[str, Any]
    written: float

    @property
    def total_steps(self) -> int | None:
        """Length of its schedule; None where it is not known."""
        return self.configuration.get("total_steps")

    @property
    def finished(self) -> bool:
        """Whether it has come to the end of its schedule."""
        return self.step == self.total_steps

    def size(self) -> int:
        """Bytes of its checkpoints and metrics."""
        total = 0
        for path in _own_files(self.path):
            with suppress(FileNotFoundError):  # a running training removes old checkpoints
                total += path.stat().st_size
        return total

    def describe(self, name: str) -> str:
        """For messages, with the name of its stage."""
        state = "a finished" if self.finished else "an unfinished"
        return f"{state} {name} training (step {self.step} of {self.total_steps})"


def configuration_digest(configuration: dict[str, Any]) -> str:
    """SHA-256 of a configuration, 64 hexadecimal digits, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


def own_folders(parent: Path, digest: str) -> list[Path]:
    """The folders in `parent` of the trainings of one configuration, in the order they were started.

    Of several, which `training.resume: never` has started, all but the first end with -2, -3 and so on.
    """
    return sorted((path for path in parent.glob(f"{digest[:DIGITS]}*") if _number(path)), key=_number)


def next_folder(parent: Path, digest: str) -> Path:
    """A folder in `parent`, beside :func:`own_folders`, that does not exist yet."""
    own = own_folders(parent, digest)
    return parent / (f"{digest[:DIGITS]}-{_number(own[-1]) + 1}" if own else digest[:DIGITS])


def read_training(path: Path) -> TrainingFolder:
    """What the newest readable checkpoint of a folder says; damaged ones are passed over."""
    for checkpoint in candidates(path):
        try:
            record = read_record(checkpoint)
            written = checkpoint.stat().st_mtime
            return TrainingFolder(path, record["step"], record["configuration"], written)
        except (LafsError, OSError, KeyError) as error:
            logger.warning("passed over a checkpoint: %s", error)
    metrics = path / METRICS_FILE
    return TrainingFolder(path, 0, {}, (metrics if metrics.exists() else path).stat().st_mtime)


def find_trainings(folder: Path) -> list[TrainingFolder]:
    """All trainings in `folder` and below, oldest first."""
    found = []
    for name, folders, files in os.walk(folder):
        if METRICS_FILE in files or any(map(NAME.fullmatch, folders)):
            found.append(read_training(Path(name)))
        folders[:] = [sub for sub in folders if not _is_internal(sub)]
    return sorted(found, key=lambda training: training.written)


def remove_training(path: Path) -> None:
    """Remove the checkpoints, metrics and other files of one training; trainings below it stay."""
    clear(path)
    for entry in list(path.iterdir()):
        if not entry.is_dir():
            entry.unlink()
        elif _is_internal(entry.name):
            shutil.rmtree(entry)
    if not any(path.iterdir()):
        path.rmdir()


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """`name (old -> new)` of every value in which two nested configurations differ."""
    before, after = flattened(old), flattened(new)
    return [
        f"{key} ({shortened(before.get(key))} -> {shortened(after.get(key))})"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def readable_size(size: int) -> str:
    """Bytes as people write them, with decimal units."""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {UNITS[unit]}"


def shortened(value: Any) -> str:
    """A value as text, of a long one its beginning."""
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:DIGITS]}..."


def _number(path: Path) -> int:
    """Which of the trainings of its configuration a folder is, from 1; 0 for a folder of another kind."""
    found = FOLDER.fullmatch(path.name)
    return 0 if found is None else int(found[1] or 1)


def _is_internal(name: str) -> bool:
    """Whether a folder in that of a training is a checkpoint, or what a crash left of one."""
    return NAME.fullmatch(name) is not None or name.startswith(".")


def _own_files(training: Path) -> Iterator[Path]:
    """Every file of a training, but for those of other trainings below; some may vanish meanwhile."""
    for place, folders, files in os.walk(training):
        if Path(place) == training:
            folders[:] = filter(_is_internal, folders)
        yield from (Path(place, name) for name in files)
