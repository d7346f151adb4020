"""Whether a training goes on, starts over, or must not start at all."""

import logging
import os
from pathlib import Path
from typing import Any

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint

logger = logging.getLogger(__name__)


def find_checkpoint(folder: Path, name: str, configuration: dict[str, Any], resume: str) -> Checkpoint | None:
    """The checkpoint that a training goes on from, the same in all processes; None to start anew.

    Checkpoints that a new training replaces are removed: those of a finished run of another configuration,
    and all where `resume` is `never`. A group that is restarted after a fault always goes on.

    Args:
        folder: of the checkpoints, on storage that all hosts share.
        name: of the stage, for messages.
        configuration: everything that decides the result.
        resume: `auto`, `never` or `must`.

    Raises:
        LafsError: when an unfinished run has another configuration, when `must` finds nothing, or when the
            folder is not shared.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0 and resume == "never":
        resume = "auto"
    checkpoint = _decide(folder, name, configuration, resume) if processes.is_main() else None
    step = processes.broadcast_object(checkpoint.step if checkpoint else None)
    if processes.is_main() or step is None:
        return checkpoint
    checkpoint = checkpoints.load_latest(folder)
    if checkpoint is None or checkpoint.step != step:
        found = "none" if checkpoint is None else f"step {checkpoint.step}"
        raise LafsError(
            f"process {processes.rank()} finds {found} in {folder} where the first process goes on from step "
            f"{step}; put LAFS_DATA on storage that all hosts share"
        )
    return checkpoint


def _decide(folder: Path, name: str, configuration: dict[str, Any], resume: str) -> Checkpoint | None:
    if resume == "never":
        checkpoints.clear(folder)
        return None
    checkpoint = checkpoints.load_latest(folder)
    if checkpoint is None:
        if resume == "must":
            raise LafsError(
                f"training.resume is must, but {folder} holds no whole checkpoint of {name}; "
                "set it to auto to start from the beginning"
            )
        return None
    if checkpoint.configuration == configuration:
        return checkpoint
    differing = ", ".join(differences(checkpoint.configuration, configuration))
    finished = checkpoint.step == checkpoint.configuration["total_steps"]
    if resume == "must" or not finished:
        raise LafsError(
            f"{folder} holds {'a finished' if finished else 'an unfinished'} {name} run "
            f"(step {checkpoint.step}) of another configuration; it differs in {differing}. Restore the "
            "configuration to go on with it, or set training.resume to never to start over"
        )
    logger.info("%s: replaces a finished run that differs in %s", name, differing)
    checkpoints.clear(folder)
    return None


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """`name (old -> new)` of every value in which two nested configurations differ."""
    names = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key} ({before} -> {after})")
    return names
