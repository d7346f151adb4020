"""Checkpoints: complete, checksummed and atomic.

A checkpoint is a folder `step-<number>` with `weights.safetensors` (every module and buffer),
`optimizer.pt` (opened with `weights_only=True`) and `checkpoint.json` (step, score, configuration, the
loop's own state, sizes and SHA-256 of the other two, and its own). It is written under a temporary name,
synced and renamed. `writer` does that beside a running training.
"""

import hashlib
import json
import logging
import math
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lafs_pipeline.runtime.errors import LafsError

logger = logging.getLogger(__name__)

WEIGHTS, OPTIMIZER, RECORD = "weights.safetensors", "optimizer.pt", "checkpoint.json"
NAME = re.compile(r"step-(\d+)(\.replaced)?")
TEMPORARY = ".writing-"
SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to resume.

    Attributes:
        step: number of finished optimizer steps.
        weights: every parameter and buffer by its name.
        optimizer: its state dict.
        configuration: a JSON object of everything that decides the result, the data's fingerprint included.
        extra: the loop's own state, a small JSON object.
        score: the probe's value at this step, higher is better; None where none was taken.
    """

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    configuration: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    score: float | None = None

    def record(self) -> dict[str, Any]:
        """The part that is no tensors, as JSON gives it back.

        Raises:
            TypeError: when `configuration` or `extra` holds something that JSON does not know.
        """
        scored = self.score is not None and math.isfinite(self.score)
        record = {
            "step": self.step,
            "score": float(self.score) if scored else None,
            "configuration": self.configuration,
            "extra": self.extra,
        }
        return json.loads(json.dumps(record))


def write(folder: Path | str, checkpoint: Checkpoint) -> Path:
    """Write one checkpoint into `folder`; on failure nothing of it stays and the others are untouched.

    Only one process may write to a folder: what a dead one left unfinished is removed.

    Raises:
        LafsError: when the file system refuses.
    """
    folder = Path(folder)
    target = folder / f"step-{checkpoint.step:08d}"
    temporary = folder / f"{TEMPORARY}{target.name}"
    record = checkpoint.record()
    weights = {name: value.detach().cpu().contiguous() for name, value in checkpoint.weights.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover)
        temporary.mkdir()
        save_file(weights, temporary / WEIGHTS)
        # Given a path instead of a stream, torch.save would keep a file open that it could not finish.
        with (temporary / OPTIMIZER).open("wb") as stream:
            torch.save(checkpoint.optimizer, stream)
        files = [temporary / name for name in (WEIGHTS, OPTIMIZER)]
        record["bytes"] = {path.name: path.stat().st_size for path in files}
        record["sha256"] = {path.name: _sha256(path) for path in files}
        record["sha256"][RECORD] = _own_sha256(record)
        (temporary / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for path in (*files, temporary / RECORD, temporary):
            _sync(path)
        _put_in_place(temporary, target)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise LafsError(_refusal(folder, checkpoint, error)) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def load_latest(folder: Path | str) -> Checkpoint | None:
    """The newest whole checkpoint of `folder`, or None; why newer ones were skipped is logged."""
    for path in candidates(folder):
        try:
            return _load(path)
        except LafsError as error:
            logger.warning("skipped checkpoint: %s", error)
    return None


def load_finished(folder: Path | str) -> Checkpoint:
    """The checkpoint of a training's last step: what it was trained for.

    Raises:
        LafsError: when it is not there, or damaged.
    """
    checkpoint = load_latest(folder)
    if checkpoint is None:
        raise LafsError(
            f"{folder} holds no whole checkpoint; start its training again, with LAFS_DATA on storage that "
            "all hosts share"
        )
    total = checkpoint.configuration["total_steps"]
    if checkpoint.step != total:
        raise LafsError(
            f"{folder} holds no whole checkpoint of the last step, {total}; start its training again: it "
            f"resumes from step {checkpoint.step}"
        )
    return checkpoint


def require_fitting(checkpoint: Checkpoint, module: nn.Module, folder: Path | str) -> None:
    """Make sure that `module.load_state_dict(checkpoint.weights)` works.

    Raises:
        LafsError: naming the first tensors that are missing, unexpected, or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in checkpoint.weights.items()}
    reshaped = [name for name in expected.keys() & found.keys() if expected[name] != found[name]]
    complaints = {
        "missing": list(expected.keys() - found.keys()),
        "unexpected": list(found.keys() - expected.keys()),
        "of another shape": [f"{name} {found[name]} instead of {expected[name]}" for name in reshaped],
    }
    texts = [f"{label}: {_first_few(names)}" for label, names in complaints.items() if names]
    if texts:
        raise LafsError(
            f"the checkpoint of step {checkpoint.step} in {folder} is of another model; {'; '.join(texts)}. "
            "Restore the model that it was trained with, or set training.resume to never to start beside it"
        )


def clear(folder: Path | str) -> None:
    """Remove every checkpoint of `folder`."""
    for path in candidates(folder):
        remove(path)


def candidates(folder: Path | str) -> list[Path]:
    """The checkpoints of `folder`, whole or not, newest first."""
    folder = Path(folder)
    found = [
        (step_of(path), not path.suffix, path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if NAME.fullmatch(path.name) and path.is_dir()
    ]
    return [path for *_, path in sorted(found, reverse=True)]


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(NAME.fullmatch(path.name)[1])


def remove(path: Path) -> None:
    """Remove one checkpoint; what a crash leaves of it does not look like one."""
    grave = path.with_name(f"{TEMPORARY}{path.name}")
    if grave.exists():
        shutil.rmtree(grave)
    shutil.rmtree(path.rename(grave))


def read_record(path: Path) -> dict[str, Any]:
    """`checkpoint.json` of a checkpoint, whose other files may be damaged.

    Raises:
        LafsError: when it is missing or damaged.
    """
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        if record["sha256"].pop(RECORD) != _own_sha256(record):
            raise LafsError(f"{path / RECORD} does not match its checksum")
        return record
    except FileNotFoundError as error:
        raise LafsError(f"{path / RECORD} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LafsError(f"{path / RECORD} is not readable: {error}") from error


def verify(path: Path) -> dict[str, Any]:
    """Read every byte of a checkpoint and return its record.

    Raises:
        LafsError: with the reason why it is not whole.
    """
    record = read_record(path)
    for file in (path / WEIGHTS, path / OPTIMIZER):
        try:
            size, expected = file.stat().st_size, record["bytes"][file.name]
            if size != expected:
                raise LafsError(f"{file} has {size} bytes instead of {expected}")
            if _sha256(file) != record["sha256"][file.name]:
                raise LafsError(f"{file} does not match its checksum")
        except FileNotFoundError as error:
            raise LafsError(f"{file} is missing") from error
        except OSError as error:
            raise LafsError(f"{file} is not readable: {error}") from error
    return record


def _load(path: Path) -> Checkpoint:
    record = verify(path)
    try:
        return Checkpoint(
            step=record["step"],
            weights=load_file(path / WEIGHTS),
            optimizer=torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True),
            configuration=record["configuration"],
            extra=record["extra"],
            score=record["score"],
        )
    except (OSError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise LafsError(f"{path} is not readable: {error}") from error


def _put_in_place(temporary: Path, target: Path) -> None:
    replaced = target.with_name(f"{target.name}.replaced")
    if target.exists():
        if replaced.exists():
            remove(replaced)
        target.rename(replaced)
    temporary.rename(target)
    _sync(target.parent)
    if replaced.exists():
        remove(replaced)


def _refusal(folder: Path, checkpoint: Checkpoint, error: Exception) -> str:
    reason = error.__context__ if isinstance(error.__context__, OSError) else error
    needed = sum(value.nbytes for value in _tensors([checkpoint.weights, checkpoint.optimizer]))
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return (
        f"the checkpoint of step {checkpoint.step} could not be written to {folder}: {reason}. It needs "
        f"{needed:,} bytes, {shutil.disk_usage(existing).free:,} are free. Make room or make the folder "
        "writable, then start the same run again: it resumes from the newest checkpoint that is there"
    )


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (dict, list, tuple)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(part)


def _first_few(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(sorted(names)[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _own_sha256(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
