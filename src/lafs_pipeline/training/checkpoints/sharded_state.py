"""Checkpoints hold whole matrices where every process trains some of their rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lafs_pipeline.objectives.partial_fc import PartialFC
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.training.checkpoints import Checkpoint

Shards = Mapping[str, RowShard]


def find_shards(modules: nn.Module) -> dict[str, RowShard]:
    """The rows that this process trains, by the names of the parameters that hold them."""
    return {
        f"{name}.head.weight": module.head.shard
        for name, module in modules.named_modules()
        if isinstance(module, PartialFC)
    }


def gather_shards(checkpoint: Checkpoint, shards: Shards) -> Checkpoint:
    """The checkpoint with whole matrices and their optimizer state, in the first process.

    Every process must call it, at the same place; what the others get is not whole.
    """
    return _with_rows(checkpoint, shards, lambda shard, rows: shard.gather(rows), lambda shard: shard.rows)


def take_shards(checkpoint: Checkpoint, shards: Shards) -> Checkpoint:
    """A whole checkpoint with the rows of this process alone; a matrix of another size stays as it is."""
    return _with_rows(checkpoint, shards, lambda shard, rows: shard.take(rows), lambda shard: shard.total)


def _with_rows(
    checkpoint: Checkpoint,
    shards: Shards,
    change: Callable[[RowShard, Tensor], Tensor | None],
    height: Callable[[RowShard], int],
) -> Checkpoint:
    """The checkpoint with every sharded matrix, and every matrix of its optimizer state, changed."""
    if not shards:
        return checkpoint
    weights, state = dict(checkpoint.weights), dict(checkpoint.optimizer["state"])
    numbers = _numbers(checkpoint.optimizer)

    def changed(shard: RowShard, value: Any) -> Any:
        is_sharded = isinstance(value, Tensor) and value.ndim > 0 and len(value) == height(shard)
        return change(shard, value) if is_sharded else value

    for name, shard in shards.items():
        if name in weights:
            weights[name] = changed(shard, weights[name])
        slots = state.get(numbers.get(name), {})
        if slots:
            state[numbers[name]] = {slot: changed(shard, value) for slot, value in slots.items()}
    return replace(checkpoint, weights=weights, optimizer=checkpoint.optimizer | {"state": state})


def _numbers(optimizer: Mapping[str, Any]) -> dict[str, int]:
    """Number of each parameter in an optimizer's state, by its name."""
    groups = optimizer["param_groups"]
    return {
        name: number for group in groups for name, number in zip(group["names"], group["params"], strict=True)
    }
