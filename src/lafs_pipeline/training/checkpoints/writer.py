"""Writes checkpoints beside a running training, and decides which ones stay."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint

logger = logging.getLogger(__name__)

WORTH_A_WARNING = 0.1
"""Seconds of waiting for the checkpoint before."""


class CheckpointWriter:
    """Copies a checkpoint's tensors while the training stands still, and writes them while it goes on.

    What stays in the folder: the newest `keep` whole checkpoints, the whole one with the best score (the
    newest of equals), and all whose step is a multiple of `milestone_every`. As a context manager it waits
    for the last checkpoint at its end.

    Args:
        folder: that nothing else writes checkpoints to; made when there is something to write.
        keep: how many of the newest stay, at least 1.
        milestone_every: steps; None for no milestones.
    """

    def __init__(self, folder: Path | str, keep: int, milestone_every: int | None = None) -> None:
        self.folder = Path(folder)
        self._retention = _Retention(self.folder, keep, milestone_every)
        self._staging = _Staging()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Take a copy of everything in `checkpoint`, to be written in the background.

        Waits for the checkpoint before, where it is still being written. The tensors may be changed in place
        as soon as this returns (on a GPU: on the stream that is current in the call).

        Raises:
            LafsError: when the checkpoint before could not be written; this one is not taken then.
            TypeError: when `configuration` or `extra` holds something that JSON does not know.
        """
        start = time.perf_counter()
        self.drain()
        if (waited := time.perf_counter() - start) > WORTH_A_WARNING:
            logger.warning(
                "training stood still for %.1f s because the checkpoint before step %d was still being "
                "written; raise training.checkpoint_every or use a faster disk",
                waited,
                checkpoint.step,
            )
        record = checkpoint.record()
        staged = replace(
            checkpoint,
            weights=self._staging.copy(checkpoint.weights, "weights"),
            optimizer=self._staging.copy(checkpoint.optimizer, "optimizer"),
            configuration=record["configuration"],
            extra=record["extra"],
        )
        copied = None
        if self._staging.from_gpu:
            copied = torch.cuda.Event(blocking=True)
            copied.record()
        self._pending = self._thread.submit(self._write, staged, copied)

    def drain(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            LafsError: when it could not be; raised once.
        """
        if self._pending is None:
            return
        try:
            self._pending.result()
        finally:
            if self._pending.done():
                self._pending = None

    def _write(self, checkpoint: Checkpoint, copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        self._retention.apply(checkpoints.write(self.folder, checkpoint))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.drain()
        except Exception as failure:
            if error is None:
                raise
            logger.error("%s", failure)
        finally:
            self._thread.shutdown()


class _Staging:
    """Copies of tensors on the CPU, in memory that is used again from call to call."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], Tensor] = {}
        self.from_gpu = False

    def copy(self, tree: Any, *place: Any) -> Any:
        """The same dicts and lists with copies of the tensors; those of a GPU are copied on its stream."""
        if isinstance(tree, dict):
            return {key: self.copy(part, *place, key) for key, part in tree.items()}
        if isinstance(tree, (list, tuple)):
            return type(tree)(self.copy(part, *place, index) for index, part in enumerate(tree))
        if not isinstance(tree, Tensor):
            return tree
        self.from_gpu |= tree.is_cuda
        value, buffer = tree.detach(), self._buffers.get(place)
        if buffer is None or (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
            buffer = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            self._buffers[place] = buffer
        return buffer.copy_(value, non_blocking=True)


class _Retention:
    """Which checkpoints of a folder stay."""

    def __init__(self, folder: Path, keep: int, milestone_every: int | None) -> None:
        self.folder, self.keep, self.milestone_every = folder, keep, milestone_every
        self._whole: dict[tuple[Any, ...], bool] = {}

    def apply(self, written: Path) -> None:
        """Remove what need not stay, now that `written` is there and whole.

        Raises:
            LafsError: when something cannot be removed.
        """
        self._whole[_state(written)] = True
        found = checkpoints.candidates(self.folder)
        newest = list(islice(filter(self._is_whole, found), self.keep))
        scores = {path: score for path in found if (score := _score(path)) is not None}
        by_score = sorted(scores, key=scores.__getitem__, reverse=True)
        best = next(filter(self._is_whole, by_score), None)
        if len(newest) < self.keep:
            return
        for path in found[found.index(newest[-1]) + 1 :]:
            if path not in (written, best) and not self._is_milestone(path):
                try:
                    checkpoints.remove(path)
                except OSError as error:
                    message = f"the old checkpoint {path} could not be removed: {error}; make it writable"
                    raise LafsError(message) from error

    def _is_milestone(self, path: Path) -> bool:
        return self.milestone_every is not None and checkpoints.step_of(path) % self.milestone_every == 0

    def _is_whole(self, path: Path) -> bool:
        """Reads the files through, but once only as long as they do not change."""
        state = _state(path)
        if state not in self._whole:
            try:
                checkpoints.verify(path)
                self._whole[state] = True
            except LafsError:
                self._whole[state] = False
        return self._whole[state]


def _state(path: Path) -> tuple[Any, ...]:
    known = [file.stat() for file in sorted(path.iterdir())]
    return path, *((state.st_size, state.st_mtime_ns) for state in known)


def _score(path: Path) -> float | None:
    try:
        return checkpoints.read_record(path)["score"]
    except LafsError:
        return None
