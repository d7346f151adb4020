"""Margin loss over millions of classes: their matrix is sharded, and a step compares with a sample of them.

Source: Partial FC, An et al. 2021 (arXiv 2010.05222) and 2022 (arXiv 2203.15565).
"""

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lafs_pipeline.objectives.margin import MarginHead, MixedLabels
from lafs_pipeline.runtime import processes


class PartialFC(nn.Module):
    """The loss of a margin head whose class matrix is sharded over the processes.

    Every process compares its classes with the embeddings of all processes; the softmax takes two all-reduces
    of one number a sample. At `sample_rate` 1 it is the loss of the whole head. Below, a step compares with
    the classes of its samples and, up to the rate, with others that are drawn from (seed, all classes), so
    that the draw does not depend on the number of processes.

    Gradients of the class matrix are those of the mean over all samples, and need no exchange. Those of the
    embeddings are made for being averaged over the processes afterwards, as DistributedDataParallel does with
    the gradients of what stands before. Classes that are not drawn have gradient 0, and AdamW treats them as
    it treats any: their moments and, by weight decay, their lengths shrink.

    Args:
        head: holds this process's rows (`shard`).
        sample_rate: share of the classes a step compares with, above 0, at most 1.
    """

    def __init__(self, head: MarginHead, sample_rate: float = 1.0) -> None:
        super().__init__()
        self.head, self.sample_rate = head, sample_rate

    def forward(self, embeddings: Tensor, labels: MixedLabels, seed: int) -> Tensor:
        """Mean cross-entropy over the samples of all processes, float32, the same in each.

        Args:
            embeddings: (B, embedding_dim) of this process, of any length; B is the same in all.
            labels: of its samples; CosFace takes mixed ones, too, with the same weight in all processes.
            seed: of the draw, the same in all processes.

        Raises:
            LafsError: labels that the head is not defined for.
        """
        self.head.require_labels(embeddings, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            self.head.follow(embeddings)
            embeddings = _gather(embeddings)
            wanted = [(processes.gather_rows(numbers), share) for numbers, share in labels.shares()]
            rows, takes_part = self._draw(torch.cat([numbers for numbers, _ in wanted]), seed)
            weight = self.head.weight if rows is None else self.head.weight[rows]
            own = [self._own(numbers, share, rows) for numbers, share in wanted] if len(weight) else []
            logits = self.head.cosines(embeddings, weight)
            for places in own:
                cosine = logits[places.samples, places.columns]
                harder = self.head.with_margin(cosine, embeddings)
                logits[places.samples, places.columns] = cosine.lerp(harder, places.share)
            logits.mul_(self.head.scale)
            if takes_part is not None:
                logits.masked_fill_(~takes_part, -math.inf)
            return _CrossEntropy.apply(logits, own)

    def _draw(self, labels: Tensor, seed: int) -> tuple[Tensor | None, Tensor | None]:
        """Rows (n,) of this process, ascending, and which of them take part (n,) bool; None for all.

        Their number is the same in every step, so that the host need not wait for it: the share of the rows,
        six standard deviations of what falls to one process, and all labels.
        """
        shard, rate = self.head.shard, self.sample_rate
        if rate == 1:
            return None, None
        generator = torch.Generator(labels.device).manual_seed(seed)
        order = torch.rand(shard.total, generator=generator, device=labels.device)
        order.index_fill_(0, labels, 2.0)
        lowest = order.topk(math.ceil(rate * shard.total)).values[-1]
        own = order[shard.first : shard.end]
        likely = rate * shard.rows + 6 * (rate * (1 - rate) * shard.rows) ** 0.5 + len(labels)
        rows = own.topk(min(shard.rows, math.ceil(likely)), sorted=False).indices.sort().values
        return rows, own[rows] >= lowest

    def _own(self, labels: Tensor, share: Tensor | float, rows: Tensor | None) -> "_Places":
        """Where among this process's logits the true classes stand, and a share of 0 for those of others."""
        shard = self.head.shard
        is_own = (labels >= shard.first) & (labels < shard.end)
        own = (labels - shard.first).clamp(0, shard.rows - 1)
        columns = own if rows is None else torch.searchsorted(rows, own).clamp(max=len(rows) - 1)
        return _Places(torch.arange(len(labels), device=labels.device), columns, is_own * share)


class _Places(NamedTuple):
    """True classes among a process's logits: rows and columns (N,), and their share (N,) of the target."""

    samples: Tensor
    columns: Tensor
    share: Tensor


class _Gather(torch.autograd.Function):
    """The embeddings of all processes, in the order of ranks."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        return processes.gather_rows(embeddings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """What all processes' classes say of this process's embeddings, times the processes."""
        size, own = dist.get_world_size(), dist.get_rank()
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return size * total.unflatten(0, (size, -1))[own]


def _gather(embeddings: Tensor) -> Tensor:
    return _Gather.apply(embeddings) if processes.in_group() else embeddings


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of logits (N, n) whose further columns lie in other processes.

    The gradient is made in the forward pass, so that one array of the logits' size is kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, places: list[_Places]) -> Tensor:
        samples, columns = logits.shape
        highest = logits.amax(1) if columns else logits.new_full((samples,), -math.inf)
        if processes.in_group():
            dist.all_reduce(highest, dist.ReduceOp.MAX)
        rows = logits - highest[:, None]
        target = rows.new_zeros(samples)
        for place in places:
            # A class that is not drawn is minus infinity, and no target.
            own = place.share * rows[place.samples, place.columns]
            target += torch.where(place.share > 0, own, 0)
        rows.exp_()
        sums = torch.stack((rows.sum(1), target))
        if processes.in_group():
            dist.all_reduce(sums)
        total, target = sums
        rows.div_(total[:, None])
        for place in places:
            rows[place.samples, place.columns] -= place.share
        ctx.save_for_backward(rows.div_(samples))
        return (total.log() - target).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return rows * gradient, None
