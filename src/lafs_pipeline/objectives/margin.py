"""Margin heads: embeddings to scaled cosine logits, made harder at the true class.

Their logits go to `torch.nn.functional.cross_entropy`, with the same hard or soft targets.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lafs_pipeline.runtime.errors import LafsError

_COSINE_GUARD = 1e-3
"""AdaFace keeps cosines and angles this far from the ends, where the arc cosine has no gradient."""


class _MarginHead(nn.Module):
    """A class matrix `weight` (classes, embedding_dim), Xavier-uniform as the authors' head.

    Only its directions matter; its size sets how far one optimiser step turns them.
    """

    def __init__(self, embedding_dim: int, classes: int, scale: float, margin: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(classes, embedding_dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes), float32 also under autocast.

        Args:
            embeddings: (B, embedding_dim), of any length.
            targets: (B,) class numbers; CosFace takes (B, classes) class weights, as mixup gives, too.

        Raises:
            LafsError: targets of another shape or kind.
        """
        self._check_targets(embeddings, targets)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            cosine = F.linear(F.normalize(embeddings), F.normalize(self.weight.float()))
            return self.scale * self._with_margin(cosine, embeddings, targets)

    def _with_margin(
        self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        raise NotImplementedError

    def _check_targets(self, embeddings: torch.Tensor, targets: torch.Tensor) -> None:
        name = type(self).__name__
        if targets.ndim != 1:
            raise LafsError(
                f"{name} is defined for class numbers (B,) alone and got targets {tuple(targets.shape)}: "
                "use CosFace, or turn mixup off."
            )
        if targets.is_floating_point() or len(targets) != len(embeddings):
            raise LafsError(
                f"{name} got {targets.dtype} targets {tuple(targets.shape)} for {len(embeddings)} "
                "embeddings; it expects one whole class number for each."
            )


class CosFace(_MarginHead):
    """`scale * (cos - margin * target)`.

    Source: CosFace, Wang et al. 2018 (arXiv 1801.09414), equation 4; soft targets as in Part fViT.
    """

    def __init__(self, embedding_dim: int, classes: int, scale: float = 64.0, margin: float = 0.4) -> None:
        super().__init__(embedding_dim, classes, scale, margin)

    def _with_margin(
        self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        if targets.ndim == 2:
            return cosine - self.margin * targets.float()
        return _at_target(cosine, targets, _target_cosine(cosine, targets) - self.margin)

    def _check_targets(self, embeddings: torch.Tensor, targets: torch.Tensor) -> None:
        soft_shape = (len(embeddings), len(self.weight))
        if targets.ndim == 1:
            super()._check_targets(embeddings, targets)
        elif targets.shape != soft_shape:
            raise LafsError(
                f"CosFace got soft targets {tuple(targets.shape)}; it expects {soft_shape}: "
                "one weight for each embedding and class."
            )


class ArcFace(_MarginHead):
    """`scale * cos(angle + margin)` at the true class, `scale * cos` elsewhere.

    Where angle + margin passes pi, the logit goes on falling as `cos - margin * sin(margin)`, as in
    InsightFace's code without the easy margin.

    Source: ArcFace, Deng et al. 2019 (arXiv 1801.07698), equation 3.
    """

    def __init__(self, embedding_dim: int, classes: int, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__(embedding_dim, classes, scale, margin)

    def _with_margin(
        self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        target = _target_cosine(cosine, targets)
        sine = (1 - target.square()).clamp(min=1e-7).sqrt()
        turned = target * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = target - self.margin * math.sin(self.margin)
        return _at_target(cosine, targets, torch.where(target > -math.cos(self.margin), turned, beyond))


class AdaFace(_MarginHead):
    """A margin that adapts to image quality, read from the length of the embedding.

    With z the length standardised by running mean and standard deviation, times `concentration`, in -1..1:
    `scale * (cos(angle - margin * z) - (margin + margin * z))` at the true class. The running values are
    buffers, updated in training mode.

    Source: AdaFace, Kim et al. 2022 (arXiv 2204.00964), equations 12 to 16; starting values, moving average
    (0.01 of the new batch) and guards as in its authors' code.
    """

    def __init__(
        self,
        embedding_dim: int,
        classes: int,
        scale: float = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
        norm_momentum: float = 0.99,
    ) -> None:
        super().__init__(embedding_dim, classes, scale, margin)
        self.concentration = concentration
        self.norm_momentum = norm_momentum
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def _with_margin(
        self, cosine: torch.Tensor, embeddings: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        quality = self._quality(embeddings.detach())
        cosine = cosine.clamp(-1 + _COSINE_GUARD, 1 - _COSINE_GUARD)
        angle = _target_cosine(cosine, targets).acos() - self.margin * quality
        target = angle.clamp(_COSINE_GUARD, math.pi - _COSINE_GUARD).cos() - self.margin * (1 + quality)
        return _at_target(cosine, targets, target)

    def _quality(self, embeddings: torch.Tensor) -> torch.Tensor:
        norms = embeddings.norm(dim=1).clamp(0.001, 100)
        if self.training and len(norms) > 1:
            self.norm_mean.lerp_(norms.mean(), 1 - self.norm_momentum)
            self.norm_std.lerp_(norms.std(), 1 - self.norm_momentum)
        standardised = (norms - self.norm_mean) / (self.norm_std + _COSINE_GUARD)
        return (self.concentration * standardised).clamp(-1, 1)


def _target_cosine(cosine: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cosine.gather(1, targets[:, None]).squeeze(1)


def _at_target(cosine: torch.Tensor, targets: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return cosine.scatter(1, targets[:, None], values[:, None])
