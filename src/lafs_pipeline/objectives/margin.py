"""Margin heads: embeddings to scaled cosine logits, made harder at the true class.

Their logits go to `torch.nn.functional.cross_entropy`, with the same hard or soft targets.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.row_shards import RowShard
from lafs_pipeline.runtime.seeding import derive_seed

_BLOCK = 1024
"""Rows of a class matrix that are drawn at once."""
_COSINE_GUARD = 1e-3
"""AdaFace keeps cosines and angles this far from the ends, where the arc cosine has no gradient."""


class MixedLabels(NamedTuple):
    """Class numbers of a batch, and, where mixup mixed it, those of each image's partner.

    Attributes:
        labels: (B,) int64.
        partners: (B,) int64; None for a batch that is not mixed.
        weight: scalar share of `labels` in 0..1; the rest is that of `partners`.
    """

    labels: torch.Tensor
    partners: torch.Tensor | None = None
    weight: torch.Tensor | None = None

    def shares(self) -> list[tuple[torch.Tensor, torch.Tensor | float]]:
        """Class numbers (B,) and their share of the target, once or, where they are mixed, twice."""
        if self.partners is None:
            return [(self.labels, 1.0)]
        return [(self.labels, self.weight), (self.partners, 1 - self.weight)]

    def targets(self, classes: int) -> torch.Tensor:
        """Targets of a head: the labels, or class weights (B, classes) where they are mixed."""
        if self.partners is None:
            return self.labels
        soft = self.weight.new_zeros(len(self.labels), classes)
        for labels, weight in self.shares():
            place = labels[:, None]
            soft.scatter_(1, place, soft.gather(1, place) + weight)
        return soft


class MarginHead(nn.Module):
    """A class matrix `weight` (classes, embedding_dim), Xavier-uniform as the authors' head.

    Only its directions matter; its size sets how far one optimizer step turns them.

    Args:
        embedding_dim: width of the embeddings.
        classes: number of classes.
        scale: s.
        margin: m.
        shard: the rows of the class matrix to hold, for `PartialFC`; by default all. They start with the
            values that they have in the whole matrix.

    Attributes:
        takes_soft_targets: whether the margin is defined for mixed labels.
    """

    takes_soft_targets = False

    def __init__(
        self, embedding_dim: int, classes: int, scale: float, margin: float, shard: RowShard | None = None
    ) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.shard = RowShard(0, classes, classes) if shard is None else shard
        self.weight = nn.Parameter(_xavier_rows(self.shard, embedding_dim))

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes), float32 also under autocast.

        Args:
            embeddings: (B, embedding_dim), of any length.
            targets: (B,) class numbers; CosFace takes (B, classes) class weights, as mixup gives, too.

        Raises:
            LafsError: targets of another shape or kind.
        """
        self._require(embeddings, targets)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            self.follow(embeddings)
            cosine = self.cosines(embeddings, self.weight)
            return self.scale * self._harder(cosine, embeddings, targets)

    def loss(self, embeddings: torch.Tensor, labels: MixedLabels) -> torch.Tensor:
        """Mean cross-entropy of the logits, a float32 scalar.

        Args:
            embeddings: (B, embedding_dim), of any length.
            labels: of the batch; CosFace takes mixed ones, too.

        Raises:
            LafsError: labels that the head is not defined for.
        """
        targets = labels.targets(len(self.weight))
        return F.cross_entropy(self(embeddings, targets), targets)

    def cosines(self, embeddings: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Cosines (B, n) between embeddings (B, embedding_dim) and rows (n, embedding_dim), float32."""
        return F.linear(F.normalize(embeddings), F.normalize(weight.float()))

    def with_margin(self, cosine: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Cosines (n,) between embeddings (n, embedding_dim) and their true classes, made harder."""
        raise NotImplementedError

    def follow(self, embeddings: torch.Tensor) -> None:
        """Learn what the margin needs to know of this process's embeddings (B, embedding_dim)."""

    def _harder(self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cosines (B, classes) with the margin at the true class."""
        own = cosine.gather(1, targets[:, None]).squeeze(1)
        return cosine.scatter(1, targets[:, None], self.with_margin(own, embeddings)[:, None])

    def require_labels(self, embeddings: torch.Tensor, labels: MixedLabels) -> None:
        """Refuse labels of another number, kind or mixture than the head is defined for.

        Raises:
            LafsError: naming the head and what it expects.
        """
        self._require(embeddings, labels.labels)
        if labels.partners is not None and not self.takes_soft_targets:
            raise LafsError(self._refusal("mixed labels"))

    def _require(self, embeddings: torch.Tensor, targets: torch.Tensor) -> None:
        name, soft_shape = type(self).__name__, (len(embeddings), len(self.weight))
        if targets.ndim != 1 and not self.takes_soft_targets:
            raise LafsError(self._refusal(f"targets {tuple(targets.shape)}"))
        if targets.ndim != 1 and targets.shape != soft_shape:
            raise LafsError(
                f"{name} got soft targets {tuple(targets.shape)}; it expects {soft_shape}: "
                "one weight for each embedding and class."
            )
        if targets.ndim == 1 and (targets.is_floating_point() or len(targets) != len(embeddings)):
            raise LafsError(
                f"{name} got {targets.dtype} targets {tuple(targets.shape)} for {len(embeddings)} "
                "embeddings; it expects one whole class number for each."
            )

    def _refusal(self, found: str) -> str:
        return (
            f"{type(self).__name__} is defined for class numbers (B,) alone and got {found}: use CosFace, or "
            "turn mixup off."
        )


class CosFace(MarginHead):
    """`scale * (cos - margin * target)`.

    Source: CosFace, Wang et al. 2018 (arXiv 1801.09414), equation 4; soft targets as in Part fViT.
    """

    takes_soft_targets = True

    def __init__(
        self,
        embedding_dim: int,
        classes: int,
        scale: float = 64.0,
        margin: float = 0.4,
        shard: RowShard | None = None,
    ) -> None:
        super().__init__(embedding_dim, classes, scale, margin, shard)

    def with_margin(self, cosine: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """`cos - margin`."""
        return cosine - self.margin

    def _harder(self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if targets.ndim == 2:
            return cosine - self.margin * targets.float()
        return super()._harder(cosine, embeddings, targets)


class ArcFace(MarginHead):
    """`scale * cos(angle + margin)` at the true class, `scale * cos` elsewhere; the margin is an angle.

    Where angle + margin passes pi, the logit goes on falling as `cos - margin * sin(margin)`, as in
    InsightFace's code without the easy margin.

    Source: ArcFace, Deng et al. 2019 (arXiv 1801.07698), equation 3.
    """

    def __init__(
        self,
        embedding_dim: int,
        classes: int,
        scale: float = 64.0,
        margin: float = 0.5,
        shard: RowShard | None = None,
    ) -> None:
        super().__init__(embedding_dim, classes, scale, margin, shard)

    def with_margin(self, cosine: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """`cos(angle + margin)`."""
        sine = (1 - cosine.square()).clamp(min=1e-7).sqrt()
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine - self.margin * math.sin(self.margin)
        return torch.where(cosine > -math.cos(self.margin), turned, beyond)


class AdaFace(MarginHead):
    """A margin that adapts to image quality, read from the length of the embedding.

    With z the length standardized by running mean and standard deviation, times `concentration`, in -1..1:
    `scale * (cos(angle - margin * z) - (margin + margin * z))` at the true class. The running values are
    buffers, updated in training mode with the lengths in all processes.

    Source: AdaFace, Kim et al. 2022 (arXiv 2204.00964), equations 12 to 16; starting values, moving average
    (0.01 of the new batch) and guards as in its authors' code.
    """

    norm_mean: torch.Tensor
    norm_std: torch.Tensor

    def __init__(
        self,
        embedding_dim: int,
        classes: int,
        scale: float = 64.0,
        margin: float = 0.4,
        shard: RowShard | None = None,
        concentration: float = 0.333,
        norm_momentum: float = 0.99,
    ) -> None:
        super().__init__(embedding_dim, classes, scale, margin, shard)
        self.concentration = concentration
        self.norm_momentum = norm_momentum
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def cosines(self, embeddings: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Cosines, kept off the ends."""
        return super().cosines(embeddings, weight).clamp(-1 + _COSINE_GUARD, 1 - _COSINE_GUARD)

    def with_margin(self, cosine: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """`cos(angle - margin * z) - (margin + margin * z)`."""
        standardized = (_lengths(embeddings) - self.norm_mean) / (self.norm_std + _COSINE_GUARD)
        quality = (self.concentration * standardized).clamp(-1, 1)
        angle = cosine.acos() - self.margin * quality
        return angle.clamp(_COSINE_GUARD, math.pi - _COSINE_GUARD).cos() - self.margin * (1 + quality)

    @torch.compiler.disable
    @torch.no_grad()
    def follow(self, embeddings: torch.Tensor) -> None:
        """Move running mean and standard deviation of the lengths, in training mode."""
        if not self.training:
            return
        lengths = processes.gather_rows(_lengths(embeddings))
        if len(lengths) > 1:
            self.norm_mean.lerp_(lengths.mean(), 1 - self.norm_momentum)
            self.norm_std.lerp_(lengths.std(), 1 - self.norm_momentum)


def _lengths(embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings.detach().norm(dim=1).clamp(0.001, 100)


def _xavier_rows(shard: RowShard, width: int) -> torch.Tensor:
    """The shard's rows of a Xavier-uniform matrix, equal in whatever shard they lie; one global draw."""
    bound = math.sqrt(6 / (shard.total + width))
    seed, generator = int(torch.randint(2**62, ())), torch.Generator()
    rows = torch.empty(shard.rows, width)
    for start in range(shard.first // _BLOCK * _BLOCK, shard.end, _BLOCK):
        generator.manual_seed(derive_seed(seed, start))
        block = torch.empty(_BLOCK, width).uniform_(-bound, bound, generator=generator)
        first, end = max(shard.first, start), min(shard.end, start + _BLOCK)
        rows[first - shard.first : end - shard.first] = block[first - start : end - start]
    return rows


HEADS = {"cosface": CosFace, "arcface": ArcFace, "adaface": AdaFace}
