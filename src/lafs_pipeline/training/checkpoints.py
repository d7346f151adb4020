"""Checkpoints: complete, checksummed, and whole or not there at all.

A checkpoint is a folder `step-<number>` with `weights.safetensors` (every module and buffer),
`optimiser.pt` (opened with `weights_only=True`) and `checkpoint.json` (step, configuration and the
SHA-256 of the other two). It is written under a temporary name, synced and renamed.
"""

import hashlib
import json
import logging
import os
import pickle
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

WEIGHTS, OPTIMISER, RECORD = "weights.safetensors", "optimiser.pt", "checkpoint.json"
PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on: `step` is the number of finished optimiser steps."""

    step: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    configuration: dict[str, Any]


def save(folder: Path | str, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint into `folder`, then remove all but the newest `keep`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{PREFIX}{checkpoint.step:08d}"
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in checkpoint.weights.items()},
            temporary / WEIGHTS,
        )
        torch.save(checkpoint.optimiser, temporary / OPTIMISER)
        record = {
            "step": checkpoint.step,
            "configuration": checkpoint.configuration,
            "sha256": {name: _sha256(temporary / name) for name in (WEIGHTS, OPTIMISER)},
        }
        (temporary / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        _sync(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _candidates(folder)[keep:]:
        shutil.rmtree(old)
    return target


def load_latest(folder: Path | str) -> Checkpoint | None:
    """The newest whole checkpoint of `folder`, or None; damaged ones are skipped and logged."""
    for path in _candidates(Path(folder)):
        try:
            return _load(path)
        except LafsError as error:
            logger.warning("skipped checkpoint: %s", error)
    return None


def clear(folder: Path | str) -> None:
    """Remove every checkpoint of `folder`."""
    for path in _candidates(Path(folder)):
        shutil.rmtree(path)


def _candidates(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"), reverse=True)


def _load(path: Path) -> Checkpoint:
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        for name, digest in record["sha256"].items():
            if _sha256(path / name) != digest:
                raise LafsError(f"{path / name} does not match its checksum")
        return Checkpoint(
            step=record["step"],
            weights=load_file(path / WEIGHTS),
            optimiser=torch.load(path / OPTIMISER, map_location="cpu", weights_only=True),
            configuration=record["configuration"],
        )
    except (OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise LafsError(f"{path} is not whole: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
