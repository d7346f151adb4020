"""Files that are written atomically, folders that one process holds alone, and paths that users give."""

import errno
import fcntl
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def local_path(path: str, name: str) -> str:
    """`path` with a leading `~` expanded.

    Raises:
        LafsError: it is an address on another file system.
    """
    if address := ADDRESS.match(path):
        raise LafsError(
            f"{name} is {path}: it must be a local path, and {address[0]} is none; copy the files or mount "
            "their storage, and give the folder where they are then"
        )
    return str(Path(path).expanduser()) if path.startswith("~") else path


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it into place.

    When the body raises, the temporary file is removed and an existing `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
