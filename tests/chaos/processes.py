"""The processes of a started training, as the kernel lists them."""

import os
from contextlib import suppress
from pathlib import Path

MARK = "LAFS_CHAOS"
"""Environment variable that all descendants of a training inherit."""


def marked(mark: str) -> list[int]:
    """Every living process whose environment carries a mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def children(parent: int) -> list[int]:
    """Those that a process has started, oldest first, as the kernel lists them.

    Of a launch these are its workers, rank 0 first, and of a training process its loaders.
    """
    commands = {child: _command(child) for child in _children(parent)}
    return [child for child, command in commands.items() if command and "resource_tracker" not in command]


def _children(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _command(pid: int) -> str:
    """Empty for a process that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def kill(pid: int) -> bool:
    """SIGKILL; whether there was something to kill."""
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return False
    return True
