"""Files that are written atomically, folders that one process holds alone, and paths that users give."""

import errno
import fcntl
import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)
LFS_POINTER = b"version https://git-lfs"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def local_path(path: str, name: str) -> str:
    """`path` from the root on, with a leading `~` expanded; an empty one stays.

    Raises:
        LafsError: it is an address on another file system.
    """
    if address := ADDRESS.match(path):
        raise LafsError(
            f"{name} is {path}: it must be a local path, and {address[0]} is none; copy the files or mount "
            "their storage, and give the folder where they are then"
        )
    return str(Path(path).expanduser().absolute()) if path else path


def refuse_lfs_pointer(path: Path | str) -> None:
    """Refuse a file that git has left in place of one that Git LFS keeps.

    Raises:
        LafsError: it is one; what is no file or cannot be read is left to who reads it.
    """
    with suppress(OSError), Path(path).open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise LafsError(f"{path} is a Git LFS pointer, not the file: fetch that with `git lfs pull`")


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it into place.

    When the body raises, the temporary file is removed and an existing `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    temporary.touch(exist_ok=False)  # with the permissions that a new file gets here
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def held_alone(folder: Path | str) -> Iterator[None]:
    """Let no other process hold `folder` meanwhile; the kernel lets go of it however this process ends.

    Raises:
        LafsError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            # Not flock, which forked processes would share and keep.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            stream.seek(0)
            raise LafsError(
                f"{folder} is in use by another training ({stream.read()}); wait for its end, or give "
                "this one another data folder (LAFS_DATA)"
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            logger.warning("%s is on a file system without locks: start no second training there", folder)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
