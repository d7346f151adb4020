"""Images in tar shards, as WebDataset names them, read in place."""

import json
import mmap
import os
import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.points import read_points
from lafs_pipeline.sources.source import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    EncodedFace,
    checked_identity,
    printable,
    shard_names,
    shard_paths,
    unique_keys,
)

_MAX_LABEL_BYTES = 1 << 16
_BLOCK = tarfile.BLOCKSIZE
_MAX_NAME_BYTES = 1 << 16
_MAX_SHOWN_BYTES = 4096
_REGULAR = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
_MAGIC = b"ustar"
_MAGIC_PLACE = 257


class TarMember(NamedTuple):
    """A file inside a tar file.

    Attributes:
        name: Its name, with undecodable bytes as surrogate escapes.
        offset: Where its content starts.
        size: Length of its content in bytes.
        problem: Why it cannot be read, None for a sound file. A damaged stretch counts as one member.
    """

    name: str
    offset: int
    size: int
    problem: str | None = None


class TarSource:
    """The images of tar files: `<sample>.jpg` with its identity in `<sample>.cls` or `<sample>.json`.

    Images without those belong to the person whom the folder in their name is called after. The sample is
    what comes before the first dot of the file name. One pass finds where every image lies; nothing is
    unpacked.

    Raises:
        LafsError: A file is missing, compressed or no tar file, or there are no images.
    """

    def __init__(
        self,
        path: Path | str | list[str],
        labeled: bool = True,
        points: Path | str | None = None,
        identity_field: str = "identity",
    ) -> None:
        self.labeled = labeled
        self._paths = shard_paths(path, ".tar")
        self._shards, self._offsets, self._sizes = array("i"), array("q"), array("q")
        self._names: list[str] = []
        self._labels: list[str | None] = []
        self._problems: dict[int, str] = {}
        self._label_problems: dict[int, str] = {}
        keys = []
        for shard, prefix in enumerate(shard_names(self._paths)):
            before = len(self._names)
            self._ingest(shard, identity_field)
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
        if not self.labeled:
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

    def _ingest(self, shard: int, identity_field: str) -> None:
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


def tar_members(path: Path) -> Iterator[TarMember]:
    """Every file of an uncompressed tar file (ustar, GNU or pax), in order; folders are left out.

    Raises:
        LafsError: The file is missing, empty, compressed, or no tar file at all.
    """
    try:
        if not path.is_file() or not path.stat().st_size:
            raise LafsError(f"Tar file {path} does not exist or is empty.")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if kind := _COMPRESSED.get(content[:2]):
                raise LafsError(
                    f"Tar file {path} is compressed ({kind}) and has no random access; decompress it first."
                )
            if _header(content, 0) is None and _next_header(content, 0) is None:
                raise LafsError(f"{path} is not a tar file.")
            yield from _members(content)
    except OSError as error:
        raise LafsError(f"Tar file {path} cannot be read ({error.strerror}).") from error


def _members(content: mmap.mmap) -> Iterator[TarMember]:
    position = 0
    extended: dict[str, str] = {}
    while position < len(content):
        header = _header(content, position)
        if header is None:
            following = _next_header(content, position)
            end = len(content) if following is None else following
            if not _is_padding(content, position, end, following is None):
                yield _damage(position, end, "no header of a file is there")
            position, extended = end, {}
            continue
        start = position + _BLOCK
        size = _size(extended, header)
        end = start + -(-size // _BLOCK) * _BLOCK
        if size < 0 or start + size > len(content):
            name = _name(extended, header)
            yield TarMember(name, start, 0, f"its length of {size} bytes goes beyond the tar file")
            following = _next_header(content, start)
            position, extended = len(content) if following is None else following, {}
        elif header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            extended = extended | _extended_header(
                header.type, content[start : start + min(size, _MAX_NAME_BYTES)]
            )
            position = end
        elif header.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            position = end
        else:
            if header.type != tarfile.DIRTYPE:
                yield _member(_name(extended, header), header, start, size, extended)
            position, extended = end, {}


def _member(name: str, header: tarfile.TarInfo, start: int, size: int, extended: dict[str, str]) -> TarMember:
    if header.type not in _REGULAR:
        return TarMember(name, start, 0, "it is not an ordinary file in the tar file but a link or the like")
    if any(key.startswith("GNU.sparse") for key in extended):
        return TarMember(name, start, 0, "it is stored as a sparse file")
    return TarMember(name, start, size)


def _name(extended: dict[str, str], header: tarfile.TarInfo) -> str:
    return extended.get("path", header.name)[:_MAX_SHOWN_BYTES].removeprefix("./")


def _size(extended: dict[str, str], header: tarfile.TarInfo) -> int:
    text = extended.get("size", "")
    return int(text) if text.isdecimal() and len(text) < 20 else header.size


def _header(content: mmap.mmap, position: int) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(content[position : position + _BLOCK], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None


def _next_header(content: mmap.mmap, position: int) -> int | None:
    """Where the next valid header stands, at a whole number of blocks."""
    found = content.find(_MAGIC, position)
    while found >= 0:
        start = found - _MAGIC_PLACE
        if start >= position and start % _BLOCK == 0 and _header(content, start) is not None:
            return start
        found = content.find(_MAGIC, found + 1)
    return None


def _is_padding(content: mmap.mmap, start: int, end: int, is_last: bool) -> bool:
    """Whether a stretch is the zeros that end a tar file, or one of several put together."""
    if not is_last and end - start > tarfile.RECORDSIZE + _BLOCK:
        return False
    return all(
        not content[place : min(place + (1 << 20), end)].strip(b"\0") for place in range(start, end, 1 << 20)
    )


def _damage(start: int, end: int, reason: str) -> TarMember:
    return TarMember(f"bytes {start} to {end}", start, 0, f"bytes {start} to {end} are damaged: {reason}")


def _extended_header(kind: bytes, body: bytes) -> dict[str, str]:
    """The names and lengths in a GNU long name or a pax header; damaged entries are left out."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": body.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    found = {}
    while body:
        length, blank, _ = body[:20].partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 1 < int(length) <= len(body):
            break
        key, equals, value = body[len(length) + 1 : int(length) - 1].partition(b"=")
        if equals and (key in (b"path", b"size") or key.startswith(b"GNU.sparse")):
            found[key.decode("ascii", "replace")] = value.decode("utf-8", "surrogateescape")
        body = body[int(length) :]
    return found
