"""What each process of a group computes with its rows of a class matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lafs_pipeline.objectives.margin import HEADS, MarginHead, MixedLabels
from lafs_pipeline.objectives.partial_fc import PartialFC
from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.sharded_state import find_shards, gather_shards
from lafs_pipeline.training.sampling import part_rows
from lafs_pipeline.training.step import clip_gradients

DIM, BATCH, SEED = 8, 8, 3


@dataclass(frozen=True)
class Case:
    """A margin loss, its number of classes, the share of them in a step, and mixup's lambda."""

    loss: str
    classes: int
    sample_rate: float = 1.0
    weight: float | None = None


def made_up(case: Case, shard: RowShard | None) -> tuple[MarginHead, Tensor, MixedLabels]:
    """The head, and the whole batch."""
    torch.manual_seed(0)
    head = HEADS[case.loss](DIM, case.classes, scale=16.0, shard=shard)
    embeddings = 5 * torch.randn(BATCH, DIM)
    labels = torch.randint(case.classes, (BATCH,))
    weight = None if case.weight is None else torch.tensor(case.weight)
    return head, embeddings, MixedLabels(labels, None if weight is None else labels.flip(0), weight)


def own_rows() -> Tensor:
    """Places in the batch of this process, as training deals them."""
    return torch.from_numpy(part_rows(BATCH, processes.world_size(), processes.rank()))


def share(cases: list[Case]) -> list[dict[str, Tensor]]:
    """Loss, gradients and buffers of every case; whole in the first process."""
    results = []
    for case in cases:
        head, embeddings, labels = made_up(case, RowShard.own(case.classes))
        rows = own_rows()
        own = embeddings[rows].requires_grad_()
        chosen = MixedLabels(*(part[rows] if part is not None and part.ndim else part for part in labels))
        loss = PartialFC(head, case.sample_rate)(own, chosen, SEED)
        loss.backward()
        placed = torch.zeros(BATCH, DIM)
        placed[processes.gather_rows(rows)] = processes.gather_rows(own.grad)
        results.append(
            {
                "loss": loss.detach(),
                "embeddings": placed / processes.world_size(),
                "weight": head.shard.gather(head.weight.grad),
                **dict(head.named_buffers()),
            }
        )
    return results


def share_whole(cases: list[Case]) -> list[dict[str, Tensor]]:
    """The buffers that the whole head has after a step of which every process has its rows."""
    results = []
    for case in cases:
        head, embeddings, labels = made_up(case, None)
        rows = own_rows()
        head.loss(embeddings[rows], MixedLabels(labels.labels[rows]))
        results.append(dict(head.named_buffers()))
    return results


@dataclass(frozen=True)
class Clipping:
    """A largest norm, and whose it is."""

    max_norm: float | None
    mode: str


def small_modules(shard: RowShard) -> nn.ModuleDict:
    """A layer that all processes share, and rows of a class matrix, with gradients."""
    torch.manual_seed(0)
    head = HEADS["cosface"](DIM, shard.total, shard=shard)
    modules = nn.ModuleDict({"model": nn.Linear(3, 2), "classes": PartialFC(head)})
    gradient = 4 * torch.randn(shard.total, DIM)
    for parameter in modules["model"].parameters():
        parameter.grad = torch.randn_like(parameter)
    head.weight.grad = shard.take(gradient)
    return modules


def clip(clippings: list[Clipping], classes: int) -> list[dict[str, Tensor]]:
    """Norm and clipped gradients."""
    results = []
    for clipping in clippings:
        shard = RowShard.own(classes)
        modules = small_modules(shard)
        head = modules["classes"].head
        norm = clip_gradients(modules.parameters(), clipping.max_norm, clipping.mode, {head.weight})
        gradients = {name: value.grad for name, value in modules["model"].named_parameters()}
        results.append({"norm": norm, "classes": shard.gather(head.weight.grad), **gradients})
    return results


def optimize(classes: int) -> Checkpoint:
    """The checkpoint after a step of AdamW."""
    modules = small_modules(RowShard.own(classes))
    named = dict(modules.named_parameters())
    optimizer = torch.optim.AdamW([{"params": list(named.values()), "names": list(named)}], fused=True)
    optimizer.step()
    own = Checkpoint(1, modules.state_dict(), optimizer.state_dict(), {})
    return gather_shards(own, find_shards(modules))


@dataclass(frozen=True)
class Work:
    """What is to be computed together."""

    cases: list[Case]
    followed: list[Case]
    clippings: list[Clipping]
    classes: int


def work(todo: Work) -> tuple[list, list, list, Checkpoint]:
    """All of it, in this process."""
    return (
        share(todo.cases),
        share_whole(todo.followed),
        clip(todo.clippings, todo.classes),
        optimize(todo.classes),
    )
