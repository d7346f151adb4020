"""Images in tar shards, as WebDataset names them, read in place."""

import json
import os
from array import array
from pathlib import Path

from lafs_pipeline.faces.points import read_points
from lafs_pipeline.faces.source_protocol import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    EncodedFace,
    checked_identity,
    printable,
    shard_names,
    shard_paths,
    unique_keys,
)
from lafs_pipeline.faces.tar_members import TarMember, tar_members
from lafs_pipeline.runtime.errors import LafsError

_MAX_LABEL_BYTES = 1 << 16


class TarSource:
    """The images of tar files: `<sample>.jpg` with its identity in `<sample>.cls` or `<sample>.json`.

    Images without those belong to the person whom the folder in their name is called after. The sample is
    what comes before the first dot of the file name. One pass finds where every image lies; nothing is
    unpacked.

    Args:
        path: A `.tar` file, a folder of them, a pattern or a list.
        labelled: False takes no identities.
        points: File of five points an image, by the image's name in the tar file.
        identity_field: Field of the `.json` that holds the identity.

    Raises:
        LafsError: A file is missing, compressed or no tar file, or there are no images.
    """

    def __init__(
        self,
        path: Path | str | list[str],
        labelled: bool = True,
        points: Path | str | None = None,
        identity_field: str = "identity",
    ) -> None:
        self.labelled = labelled
        self._paths = shard_paths(path, ".tar")
        self._shards, self._offsets, self._sizes = array("i"), array("q"), array("q")
        self._names: list[str] = []
        self._labels: list[str | None] = []
        self._problems: dict[int, str] = {}
        self._label_problems: dict[int, str] = {}
        keys = []
        for shard, prefix in enumerate(shard_names(self._paths)):
            before = len(self._names)
            self._take_in(shard, identity_field)
            keys += [prefix + name for name in self._names[before:]]
        if not keys:
            raise LafsError(
                f"{path}: there are no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in the tar files."
            )
        self._keys = unique_keys(keys)
        self._points = read_points(points) if points else {}
        self.names_are_people = any(label is not None and not label.isdigit() for label in self._labels)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """Name of the image in the tar file; before it the shard's name where there are several."""
        return self._keys[index]

    def identity(self, index: int) -> str | None:
        """What the sample's `.cls` or `.json` says, else the folder in the image's name."""
        if not self.labelled:
            return None
        if index in self._label_problems:
            raise LafsError(self._label_problems[index])
        return self._labels[index]

    def read(self, index: int) -> EncodedFace:
        """The image's bytes, and its points where a file gives them."""
        if index in self._problems:
            raise LafsError(self._problems[index])
        path, size = self._paths[self._shards[index]], self._sizes[index]
        try:
            with path.open("rb") as stream:
                stream.seek(self._offsets[index])
                encoded = stream.read(size)
        except OSError as error:
            raise LafsError(f"{path} cannot be read ({error.strerror})") from error
        if len(encoded) < size:
            raise LafsError(f"{path} ends within it; the file became shorter since it was opened")
        return EncodedFace(encoded, self._points.get(printable(self._names[index])))

    def _take_in(self, shard: int, identity_field: str) -> None:
        first = len(self._names)
        labels: dict[str, TarMember] = {}
        path = self._paths[shard]
        for member in tar_members(path):
            suffix = os.path.splitext(member.name)[1].lower()  # noqa: PTH122
            is_image = suffix in IMAGE_SUFFIXES and not _basename(member.name).startswith(".")
            if is_image or member.problem:
                self._add(shard, member)
            elif suffix == ".cls" or (suffix == ".json" and _sample(member.name) not in labels):
                labels[_sample(member.name)] = member
        read: dict[str, str | None] = {}
        with path.open("rb") as stream:
            for index in range(first, len(self._names)):
                sample = _sample(self._names[index])
                label = None
                try:
                    if sample in labels:
                        stream.seek(labels[sample].offset)
                        content = stream.read(min(labels[sample].size, _MAX_LABEL_BYTES + 1))
                        label = _label(labels[sample].name, content, identity_field)
                except LafsError as error:
                    self._label_problems[index] = str(error)
                label = label or printable(os.path.dirname(self._names[index])).strip("./") or None  # noqa: PTH120
                self._labels.append(read.setdefault(label, label))

    def _add(self, shard: int, member: TarMember) -> None:
        problem = member.problem
        if not problem and member.size >= MAX_FILE_BYTES:
            problem = f"it has {member.size} bytes, images have less than {MAX_FILE_BYTES}"
        if problem:
            self._problems[len(self._names)] = f"{self._paths[shard]}: {problem}"
        self._names.append(member.name)
        self._shards.append(shard)
        self._offsets.append(member.offset)
        self._sizes.append(member.size)


def _basename(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _sample(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".", 1)[0]


def _label(name: str, content: bytes, identity_field: str) -> str | None:
    """The identity in a label file.

    Raises:
        LafsError: The file holds none; gives the reason alone.
    """
    try:
        if len(content) > _MAX_LABEL_BYTES:
            raise LafsError(f"more than {_MAX_LABEL_BYTES} bytes are no label")
        if not name.lower().endswith(".json"):
            return checked_identity(content)
        fields = json.loads(content)
        if not isinstance(fields, dict):
            raise LafsError("it is not a table of fields")
        return checked_identity(fields.get(identity_field))
    except (LafsError, ValueError, RecursionError) as error:
        raise LafsError(f"{_basename(name)} beside it cannot be used: {error}") from error
