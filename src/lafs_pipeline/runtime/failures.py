"""Why a worker ended early, in a form that travels between processes and hosts."""

import json
import os
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time
from typing import Literal

from lafs_pipeline.runtime.errors import LafsError

KINDS = ("refused", "hang", "killed", "lost", "raised")
"""From the surest cause to what may be a mere consequence: where a worker dies, the others lose their
connection to it and raise as well."""


@dataclass(frozen=True)
class Failure:
    """One reason.

    Attributes:
        kind: `refused` is a LafsError, `hang` the watchdog's verdict, `killed` an end without a word, `lost`
            a host that no longer answers, `raised` any other exception.
        text: the message; for `raised` with the worker's traceback.
        time: seconds since 1970 when it was noticed.
    """

    kind: Literal["refused", "hang", "killed", "lost", "raised"]
    text: str
    time: float = field(default_factory=time)

    def dumps(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> "Failure":
        """From JSON."""
        return cls(**json.loads(text))


def root_cause(failures: Iterable[Failure]) -> Failure | None:
    """The failure that the others most likely follow from: the surest kind, and of these the first."""
    return min(failures, key=lambda failure: (KINDS.index(failure.kind), failure.time), default=None)


def failure_of(error: BaseException, where: str) -> Failure:
    """What an exception that a worker raised tells its launcher.

    Args:
        error: caught by the module that called the worker, whose own frames are left out.
        where: rank, host and process.
    """
    if isinstance(error, LafsError):
        return Failure("refused", str(error))
    frames = error.__traceback__
    caller = frames.tb_frame.f_code.co_filename
    while frames.tb_next and frames.tb_frame.f_code.co_filename == caller:
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames)
    return Failure("raised", f"{where} failed:\n{''.join(lines).rstrip()}")


def write_failure(path: Path, failure: Failure) -> None:
    """Write for :func:`read_failure`, whole or not at all; a failure that is there already stays."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(failure.dumps(), encoding="utf-8")
    if path.exists():
        temporary.unlink()
    else:
        temporary.replace(path)


def read_failure(path: Path) -> Failure | None:
    """What :func:`write_failure` wrote, or None."""
    try:
        return Failure.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
