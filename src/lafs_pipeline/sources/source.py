"""What every source of face images offers, and the rules that all of them share."""

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Protocol

import numpy as np

from lafs_pipeline.runtime.errors import LafsError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})
MAX_FILE_BYTES = 1 << 29
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class EncodedFace:
    """One image as a source holds it.

    Attributes:
        encoded: The bytes of an image file.
        points: (5, 2) float32 x, y in pixels where the source knows them.
    """

    encoded: bytes
    points: np.ndarray | None = None


class Source(Protocol):
    """Random access to a set of images. Cheap to open, and can be pickled to worker processes.

    What is damaged in a source is listed as images too, and reading those raises the reason, so that nothing
    is left out in silence.
    """

    names_are_people: bool
    """Whether equal identity names in two such sources mean one person (folder names do, numbers do not)."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def key(self, index: int) -> str:
        """Name of an image, unique within the source."""
        ...

    def identity(self, index: int) -> str | None:
        """Name of the person, unique within the source; None where it is not known.

        Raises:
            LafsError: The image has a label that cannot be one; gives the reason alone.
        """
        ...

    def read(self, index: int) -> EncodedFace:
        """The image itself. Raises LafsError with the reason where it cannot be read."""
        ...


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as those of images do."""
    return os.path.splitext(name.strip())[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def printable(name: str | bytes) -> str:
    """A name as Unicode in composed form (NFC); bytes that are not UTF-8 become backslash escapes."""
    if isinstance(name, str):
        name = name.encode("utf-8", "surrogateescape" if _only_escapes(name) else "surrogatepass")
    return unicodedata.normalize("NFC", name.decode("utf-8", "backslashreplace"))


def _only_escapes(name: str) -> bool:
    return all(not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff" for letter in name)


def unique_keys(names: Sequence[str | bytes]) -> list[str]:
    """:func:`printable` names; those that would be the same are numbered, so that none is left out."""
    keys = [printable(name) for name in names]
    if len(set(keys)) == len(keys):
        return keys
    taken, seen = Counter(keys), Counter[str]()
    for position, key in enumerate(keys):
        if taken[key] > 1:
            seen[key] += 1
            if seen[key] > 1:
                keys[position] = f"{key}#{seen[key]}"
    return unique_keys(keys) if len(set(keys)) < len(keys) else keys


def checked_identity(label: object) -> str | None:
    """The name of a person from a label as files hold it: text, a whole number, or nothing.

    Raises:
        LafsError: The label is empty, negative, not a number, not whole or of another kind.
    """
    if label is None:
        return None
    if isinstance(label, bytes):
        label = printable(label)
    if isinstance(label, (bool, np.bool_)) or not isinstance(label, (str, int, float, np.number)):
        raise LafsError(f"its label is a {type(label).__name__}, expected a name or a whole number")
    if not isinstance(label, str):
        if not float(label).is_integer():
            raise LafsError(f"its label {label} is not a whole number")
        if label < 0:
            raise LafsError(f"its label {int(label)} is negative")
        return str(int(label))
    text = printable(label).strip()
    if not text or text in ("nan", "NaN"):
        raise LafsError(f"its label is {text or 'empty'}, expected a name or a whole number")
    if text.isdigit() or not _NUMBER.fullmatch(text):
        return text
    return checked_identity(float(text))


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an ordinary file of less than 512 MiB.

    Raises:
        LafsError: It is something else or cannot be read; gives the reason alone.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            raise LafsError("it is not an ordinary file")
        if status.st_size >= MAX_FILE_BYTES:
            raise LafsError(f"it has {status.st_size} bytes, files have less than {MAX_FILE_BYTES} here")
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LafsError(f"it cannot be read ({reason})") from error


def shard_paths(path: Path | str | Sequence[str], suffix: str) -> list[Path]:
    """The files that `path` stands for, in the order of their names.

    Args:
        path: A file, a folder (its files with `suffix`), a pattern with `*`, `?`, `[]`, or a list of those.
        suffix: What names of such files end with.

    Raises:
        LafsError: Nothing is there.
    """
    patterns = [path] if isinstance(path, (str, os.PathLike)) else path
    found: list[Path] = []
    for pattern in patterns:
        place = Path(pattern)
        if place.is_dir():
            files = sorted(place.glob(f"*{suffix}"))
            if not files:
                raise LafsError(f"Folder {place} holds no {suffix} file.")
        elif place.exists():
            files = [place]
        else:
            files = [Path(name) for name in sorted(glob(str(pattern)))]  # noqa: PTH207
            if not files:
                raise LafsError(f"{place} does not exist; expected a {suffix} file, a folder or a pattern.")
        found += files
    if not found:
        raise LafsError(f"The list of {suffix} files is empty.")
    return list(dict.fromkeys(found))


def shard_names(paths: Sequence[Path]) -> list[str]:
    """What keeps keys of several shards apart: their names, below the folder that holds all of them."""
    if len(paths) == 1:
        return [""]
    parent = os.path.commonpath([path.absolute().parent for path in paths])
    return [f"{os.path.relpath(path.absolute(), parent)}/" for path in paths]
