"""Loose image files in a tree of folders."""

import os
from collections.abc import Iterator
from pathlib import Path

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.points import read_points
from lafs_pipeline.sources.source import (
    IMAGE_SUFFIXES,
    EncodedFace,
    is_image_name,
    printable,
    read_image_file,
    unique_keys,
)


class FolderSource:
    """Image files below a folder: each sub-folder is one identity, images directly in the folder have none.

    Sorted by name. A folder that several links lead to is read once. A folder that cannot be listed counts as
    one image that cannot be read.

    Raises:
        LafsError: The folder is missing or holds no image, or the points file has another form.
    """

    names_are_people = True

    def __init__(self, path: Path | str, labeled: bool = True, points: Path | str | None = None) -> None:
        self.path = Path(path)
        self.labeled = labeled
        if not self.path.is_dir():
            raise LafsError(f"Image folder {self.path} does not exist.")
        files = sorted(_image_files(str(self.path)), key=printable)
        if not files:
            raise LafsError(f"Folder {self.path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        self._keys, self._files = unique_keys(files), files
        self._points = read_points(points, self.path) if points else {}

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """Path below the folder, composed (NFC); bytes that are not UTF-8 become backslash escapes."""
        return self._keys[index]

    def identity(self, index: int) -> str | None:
        """Sub-folder of the image."""
        folder = printable(os.path.dirname(self._files[index]))  # noqa: PTH120
        return folder if self.labeled and folder else None

    def read(self, index: int) -> EncodedFace:
        """The file's bytes, and its points where a file gives them."""
        return EncodedFace(read_image_file(self.path / self._files[index]), self._points.get(self.key(index)))


def _image_files(folder: str) -> Iterator[str]:
    visited = set()
    unlistable: list[str] = []
    walk = os.walk(folder, followlinks=True, onerror=lambda error: unlistable.append(error.filename))
    for current, folders, files in walk:
        status = os.stat(current)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        below = os.path.relpath(current, folder)
        for file in files:
            if is_image_name(file) and not file.startswith("."):
                yield file if below == "." else f"{below}/{file}"
    for name in unlistable:
        yield os.path.relpath(name, folder)
