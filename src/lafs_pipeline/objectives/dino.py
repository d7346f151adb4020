"""Self-distillation with no labels: cross-entropy between views, against a centred and sharpened teacher.

Source: DINO, Caron et al. 2021 (arXiv 2104.14294), algorithm 1 and section 3.1.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from lafs_pipeline.runtime.errors import LafsError

TEACHER_VIEWS = 2


def teacher_distribution(
    teacher_logits: torch.Tensor, center: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Centred and sharpened teacher probabilities `softmax((logits - center) / temperature)`, float32.

    Args:
        teacher_logits: (N, K).
        center: (1, K).
        temperature: above 0; lower is sharper.
    """
    return F.softmax((teacher_logits.float() - center) / temperature, dim=-1)


def teacher_entropy(teacher_logits: torch.Tensor, center: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean entropy of the teacher distribution in nats: a scalar between 0 and log(K).

    Near log(K) the teacher has collapsed to the uniform output; near 0 every sample has one prototype.

    Args:
        teacher_logits: (N, K).
        center: (1, K).
        temperature: above 0.
    """
    return torch.special.entr(teacher_distribution(teacher_logits, center, temperature)).sum(dim=-1).mean()


class DINOLoss(nn.Module):
    """Cross-entropy of student views against the teacher's other views, averaged over all such pairs.

    With V student views of which the first 2 are the teacher's, the pairs number `2 * (V - 1)`. The buffer
    `center` (1, K) is an exponential moving average of the teacher's batch mean over all ranks; every
    training step's call updates it after its loss is computed.
    """

    def __init__(self, out_dim: int, student_temperature: float = 0.1, center_momentum: float = 0.9) -> None:
        """Start from a centre of zeros.

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
        """Scalar float32 loss, whatever the dtype of the logits; in training mode the centre moves after it.

        Args:
            student_logits: (V * B, K), view-major: the B rows of view 0, then those of view 1, ...
            teacher_logits: (2 * B, K), view-major, of the student's views 0 and 1; never differentiated.
            teacher_temperature: above 0.

        Raises:
            LafsError: shapes that are not (V * B, K) with V >= 2 and (2 * B, K).
        """
        batch, views = self._batch_and_views(student_logits, teacher_logits)
        with torch.autocast(student_logits.device.type, enabled=False):
            with torch.no_grad():
                teacher = teacher_distribution(teacher_logits, self.center, teacher_temperature).chunk(
                    TEACHER_VIEWS
                )
                teacher_sum = teacher[0] + teacher[1]
            # Cross-entropy is linear in its target: one term a student view, against the sum of the teacher's
            # other views, equals one term a pair.
            total = torch.zeros((), device=student_logits.device)
            for view, logits in enumerate(student_logits.chunk(views)):
                target = teacher[1 - view] if view < TEACHER_VIEWS else teacher_sum
                total = total + F.cross_entropy(
                    logits.float() / self.student_temperature, target, reduction="sum"
                )
            if self.training:
                self._update_center(teacher_logits)
        return total / (TEACHER_VIEWS * (views - 1) * batch)

    @torch.no_grad()
    def _update_center(self, teacher_logits: torch.Tensor) -> None:
        mean = teacher_logits.float().mean(dim=0, keepdim=True)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
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
