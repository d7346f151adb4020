"""Whether a training resumes, extends another one, starts anew, or must not start at all."""

import copy
import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.folders import (
    METRICS_FILE,
    TrainingFolder,
    configuration_digest,
    differences,
    find_trainings,
    next_folder,
    own_folders,
    readable_size,
)

logger = logging.getLogger(__name__)

EXTENDS = "extends"
"""Key of a configuration: the digest of the training that was extended, and its last step."""


@dataclass(frozen=True)
class Start:
    """Where a training keeps its state, and what it starts from.

    Attributes:
        folder: of its checkpoints and metrics.
        configuration: everything that decides the result, a training that is extended included.
        extended: folder of that training, from whose last checkpoint one without its own starts; None
            where nothing is extended.
    """

    folder: Path
    configuration: dict[str, Any]
    extended: Path | None = None


def choose_start(parent: Path, name: str, configuration: dict[str, Any], resume: str) -> Start:
    """The folder that a training resumes or starts in, the same in all processes; nothing is written.

    A training has a folder of its own in `parent`, named after its configuration's digest, so that nothing
    of another configuration is changed. A group that is restarted after a fault always resumes.

    Raises:
        LafsError: when the newest training of another configuration is unfinished, or when `must` or
            `extend` find nothing.
    """
    start = _choose(parent, name, configuration, resume) if processes.is_main() else None
    return processes.broadcast_object(start)


def load_start(start: Start, name: str, resume: str) -> Checkpoint | None:
    """The checkpoint that a training resumes or extends, the same in all processes; None to start anew.

    Raises:
        LafsError: when `must` finds no whole checkpoint, the training that is extended has lost its last
            one, the folder holds another configuration, or it is not shared.
    """
    checkpoint = checkpoints.load_latest(start.folder)
    if checkpoint is not None and checkpoint.configuration != start.configuration:
        differing = ", ".join(differences(checkpoint.configuration, start.configuration))
        raise LafsError(
            f"{start.folder} holds a {name} training of another configuration; it differs in {differing}. "
            "Restore the configuration, or move the folder away"
        )
    if checkpoint is None and resume == "must":
        raise LafsError(
            f"training.resume is must, but {start.folder} holds no whole checkpoint of {name}; set it to "
            "auto to start from the beginning"
        )
    if checkpoint is None and EXTENDS in start.configuration:
        if start.extended is None:
            raise LafsError(
                f"{start.folder} holds no whole checkpoint of {name}, and the training that it extends is "
                f"gone from {start.folder.parent}; set training.resume to auto to train from the beginning"
            )
        checkpoint = checkpoints.load_finished(start.extended)
    step = processes.broadcast_object(checkpoint.step if checkpoint else None)
    if (checkpoint.step if checkpoint else None) != step:
        found = "none" if checkpoint is None else f"step {checkpoint.step}"
        raise LafsError(
            f"process {processes.rank()} finds {found} in {start.folder} where the first process resumes "
            f"from step {step}; put LAFS_DATA on storage that all hosts share"
        )
    return checkpoint


def _choose(parent: Path, name: str, configuration: dict[str, Any], resume: str) -> Start:
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    trainings = [found for found in find_trainings(parent) if found.path.parent == parent]
    extended = None
    if resume == "extend":
        configuration, extended = _extend(parent, name, configuration, trainings)
    digest = configuration_digest(configuration)
    own = own_folders(parent, digest)
    folder = own[-1] if own else next_folder(parent, digest)
    if resume == "never" and not restarted and _has_content(folder):
        folder = next_folder(parent, digest)
    others = [found for found in trainings if found.path != folder and found.configuration]
    of_other_configuration = [found for found in others if found.path not in own]
    if not checkpoints.candidates(folder) and not restarted and extended is None:
        _look_beside(folder, name, configuration, resume, of_other_configuration)
    if others:
        logger.info(
            "%s: earlier trainings occupy %s; they are listed by: lafs checkpoints %s",
            name,
            readable_size(sum(found.size() for found in others)),
            shlex.quote(str(parent)),
        )
    return Start(folder, configuration, extended)


def _look_beside(
    folder: Path, name: str, configuration: dict[str, Any], resume: str, others: list[TrainingFolder]
) -> None:
    """Refuse to start a training in an empty folder, or say what lies beside it."""
    if not others:
        if resume == "must":
            raise LafsError(
                f"training.resume is must, but {folder.parent} holds no {name} training; set it to auto to "
                "start from the beginning"
            )
        return
    newest = others[-1]
    differing = ", ".join(differences(newest.configuration, configuration))
    found = (
        f"{newest.path} holds {newest.describe(name)} of another configuration; it differs in {differing}. "
        f"{_how_to_continue(newest, configuration)}"
    )
    if resume == "must" or (resume == "auto" and not newest.finished):
        raise LafsError(f"{found}, or set training.resume to never to start a training beside it")
    logger.info("%s: %s; a training of this configuration starts beside it in %s", name, found, folder)


def _how_to_continue(training: TrainingFolder, configuration: dict[str, Any]) -> str:
    if _without_length(training.configuration) == _without_length(configuration):
        total, wanted = training.total_steps, configuration["total_steps"]
        if (training.finished and total < wanted) or (EXTENDS in training.configuration and total == wanted):
            return f"Set training.resume to extend to train it up to step {wanted}"
    return f"Restore the configuration to {'take its result' if training.finished else 'resume it'}"


def _extend(
    parent: Path, name: str, configuration: dict[str, Any], trainings: list[TrainingFolder]
) -> tuple[dict[str, Any], Path | None]:
    """The configuration of an extension, and the folder of what it extends; None where that is gone."""
    wanted = configuration["total_steps"]
    alike = [
        found for found in trainings if _without_length(found.configuration) == _without_length(configuration)
    ]
    begun = [found for found in alike if EXTENDS in found.configuration and found.total_steps == wanted]
    if begun:
        configuration = begun[-1].configuration
    else:
        shorter = [found for found in alike if found.finished and found.total_steps < wanted]
        if not shorter:
            there = ", ".join(found.describe(name) for found in alike) or "none at all"
            raise LafsError(
                f"training.resume is extend, but {parent} holds no finished {name} training of less than "
                f"{wanted} steps that differs in its epochs alone (found: {there}); finish one, or set it to "
                "auto to train from the beginning"
            )
        digest = configuration_digest(shorter[-1].configuration)
        configuration = configuration | {EXTENDS: {"training": digest, "step": shorter[-1].step}}
    extended = [
        found.path
        for found in alike
        if configuration_digest(found.configuration) == configuration[EXTENDS]["training"]
    ]
    return configuration, extended[-1] if extended else None


def _has_content(folder: Path) -> bool:
    return bool(checkpoints.candidates(folder)) or (folder / METRICS_FILE).exists()


def _without_length(configuration: dict[str, Any]) -> dict[str, Any]:
    """What must agree between a training and one that extends it."""
    rest = copy.deepcopy(configuration)
    rest.pop("total_steps", None)
    rest.pop(EXTENDS, None)
    rest.get("settings", {}).get("training", {}).pop("epochs", None)
    return rest
