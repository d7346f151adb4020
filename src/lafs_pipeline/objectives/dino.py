"""Self-distillation with no labels: cross-entropy between views, against a centered and sharpened teacher.

Source: DINO, Caron et al. 2021 (arXiv 2104.14294), algorithm 1 and section 3.1.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.views.parameters import TEACHER_VIEWS


def teacher_entropy(distribution: torch.Tensor) -> torch.Tensor:
    """Mean entropy of the teacher in nats: a scalar between 0 and log(K).

    Near log(K) the teacher has collapsed to the uniform output; near 0 every sample has one prototype.

    Args:
        distribution: (..., K) from :meth:`DINOLoss.targets`.
    """
    return torch.special.entr(distribution).sum(dim=-1).mean()


class _SoftCrossEntropy(torch.autograd.Function):
    """Sum over rows of `mass * logsumexp(z) - <target, z>`, z = logits / temperature; float32.

    The gradient is made in the forward pass, in place of z, so that one array of the logits' size is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, target: torch.Tensor, mass: float, temperature: float
    ) -> torch.Tensor:
        rows = logits.float() * (1 / temperature)
        # A target's mass is that of the softmax, so that a common shift of a row adds nothing.
        rows.sub_(rows.amax(dim=-1, keepdim=True))
        agreement = torch.einsum("vbk,bk->", rows.unflatten(0, (-1, len(target))), target)
        sums = rows.exp_().sum(dim=-1, keepdim=True)
        value = mass * sums.log().sum() - agreement
        rows.mul_(mass / temperature / sums)
        rows.unflatten(0, (-1, len(target))).sub_(target, alpha=1 / temperature)
        ctx.save_for_backward(rows.to(logits.dtype))
        return value

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        return rows * gradient.to(rows.dtype), None, None, None


class DINOLoss(nn.Module):
    """Cross-entropy of student views against the teacher's other views, averaged over all such pairs.

    With V student views of which the first 2 are the teacher's, the pairs number `2 * (V - 1)`. The buffer
    `center` (1, K) is an exponential moving average of the teacher's batch mean over all ranks; every
    training step's call updates it after its loss is computed.

    The loss is a sum over student views, so that a step may also take it in parts, from :meth:`targets` and
    one :meth:`partial` for some views at a time, and call :meth:`update_center` itself at its end.
    """

    center: torch.Tensor

    def __init__(self, out_dim: int, student_temperature: float = 0.1, center_momentum: float = 0.9) -> None:
        """Start from a center of zeros.

        Args:
            out_dim: number of prototypes K.
            student_temperature: above 0.
            center_momentum: from 0 (the last batch alone) to below 1.
        """
        super().__init__()
        self.student_temperature = student_temperature
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(1, out_dim))

    def forward(
        self, student_logits: torch.Tensor, teacher_logits: torch.Tensor, teacher_temperature: float
    ) -> torch.Tensor:
        """Scalar float32 loss, whatever the dtype of the logits; in training mode the center moves after it.

        Args:
            student_logits: (V * B, K), view-major: the B rows of view 0, then those of view 1, ...
            teacher_logits: (2 * B, K), view-major, of the student's views 0 and 1; never differentiated.
            teacher_temperature: above 0.

        Raises:
            LafsError: shapes that are not (V * B, K) with V >= 2 and (2 * B, K).
        """
        batch, views = self._batch_and_views(student_logits, teacher_logits)
        targets = self.targets(teacher_logits, teacher_temperature)
        parts = (
            self.partial(student_logits[first * batch : last * batch], targets, first, views)
            for first, last in ((0, 1), (1, 2), (2, views))
            if last > first
        )
        loss = sum(parts, start=torch.zeros((), device=student_logits.device))
        if self.training:
            self.update_center(teacher_logits.float().mean(dim=0, keepdim=True))
        return loss

    @torch.no_grad()
    def targets(self, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
        """Centered and sharpened teacher probabilities `softmax((logits - center) / temperature)`.

        Args:
            teacher_logits: (2 * B, K), view-major.
            temperature: above 0; lower is sharper.

        Returns:
            (2, B, K) float32.
        """
        scaled = (teacher_logits.float() - self.center).mul_(1 / temperature)
        return torch.softmax(scaled, dim=-1).unflatten(0, (TEACHER_VIEWS, -1))

    def partial(
        self, student_logits: torch.Tensor, targets: torch.Tensor, first_view: int, views: int
    ) -> torch.Tensor:
        """What some student views add to the loss.

        Args:
            student_logits: (v * B, K) of the views from `first_view` on, view-major: either one of the
                teacher's views (v = 1) or only others.
            targets: (2, B, K).
            first_view: their place among the V views.
            views: V.
        """
        of_teacher = first_view < TEACHER_VIEWS
        target = targets[1 - first_view] if of_teacher else targets.sum(dim=0)
        mass = 1.0 if of_teacher else float(TEACHER_VIEWS)
        pairs = TEACHER_VIEWS * (views - 1) * targets.shape[1]
        with torch.autocast(student_logits.device.type, enabled=False):
            total = _SoftCrossEntropy.apply(student_logits, target, mass, self.student_temperature)
        return total / pairs

    @torch.no_grad()
    def update_center(self, mean: torch.Tensor) -> None:
        """Move the center.

        Args:
            mean: (1, K) mean of this rank's teacher logits.
        """
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(mean)
            mean = mean / dist.get_world_size()
        self.center.lerp_(mean, 1 - self.center_momentum)

    def _batch_and_views(self, student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> tuple[int, int]:
        prototypes = self.center.shape[1]
        batch = teacher_logits.shape[0] // TEACHER_VIEWS
        views = student_logits.shape[0] // max(batch, 1)
        if (
            views < TEACHER_VIEWS
            or teacher_logits.shape != (TEACHER_VIEWS * batch, prototypes)
            or student_logits.shape != (views * batch, prototypes)
        ):
            raise LafsError(
                f"The DINO loss got student logits {tuple(student_logits.shape)} and teacher logits "
                f"{tuple(teacher_logits.shape)}; it expects (V * B, {prototypes}) with V >= 2 views and "
                f"(2 * B, {prototypes}) for the same batch of B images."
            )
        return batch, views
