"""Matrices whose rows are sharded over the processes of a group."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor

from lafs_pipeline.runtime import processes


@dataclass(frozen=True)
class RowShard:
    """The rows that one process holds; all processes together hold each row once, in the order of ranks.

    Where the rows are not divisible by the processes, shards differ by one row.

    Attributes:
        first: its first row.
        end: the row after its last.
        total: rows of the whole matrix.
    """

    first: int
    end: int
    total: int

    @classmethod
    def of(cls, total: int, rank: int, count: int) -> Self:
        """The shard of process `rank` among `count`."""
        return cls(total * rank // count, total * (rank + 1) // count, total)

    @classmethod
    def own(cls, total: int) -> Self:
        """The shard of this process."""
        return cls.of(total, processes.rank(), processes.world_size())

    @property
    def rows(self) -> int:
        """How many it holds."""
        return self.end - self.first

    def take(self, whole: Tensor) -> Tensor:
        """A copy of its rows (rows, ...) of a whole matrix (total, ...)."""
        return whole[self.first : self.end].clone()

    def gather(self, rows: Tensor) -> Tensor | None:
        """The whole matrix (total, ...) on the CPU of the first process, None in the others.

        Every process must call it with its rows, at the same place.
        """
        if not processes.in_group():
            return rows
        rows = rows.detach().cpu().contiguous()
        if not processes.is_main():
            if self.rows:
                dist.send(rows, 0)
            return None
        whole = torch.empty(self.total, *rows.shape[1:], dtype=rows.dtype)
        whole[: self.end] = rows
        for rank in range(1, processes.world_size()):
            other = RowShard.of(self.total, rank, processes.world_size())
            if other.rows:
                dist.recv(whole[other.first : other.end], rank)
        return whole
