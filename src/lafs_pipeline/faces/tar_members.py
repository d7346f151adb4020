"""What a tar file holds and where, found in one pass that goes on behind damage."""

import mmap
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lafs_pipeline.runtime.errors import LafsError

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
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
    position, extended = 0, {}
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
