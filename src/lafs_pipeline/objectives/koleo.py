"""Embeddings that spread evenly: the Kozachenko-Leonenko estimate of their entropy, as a penalty.

Source: Sablayrolles et al. 2019 (arXiv 1806.03198), section 3.3; DINOv2 (arXiv 2304.07193), section 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lafs_pipeline.runtime.errors import LafsError

SMALLEST = 1e-8
"""Added to a distance, so that an image that is twice in a batch has a finite logarithm."""


def koleo_loss(embeddings: Tensor) -> Tensor:
    """Mean over embeddings of `-log(distance to the nearest other)`, on the unit sphere: a float32 scalar.

    It is at least -log(2), and grows as embeddings become one.

    Args:
        embeddings: (B, dim) of B different images, in the same view; B of 2 or more.

    Raises:
        LafsError: fewer than 2 embeddings.
    """
    if len(embeddings) < 2:
        raise LafsError(
            "pretrain.koleo_weight wants the nearest neighbor of an image among those that a process "
            "computes at once, and that is 1 image; make training.batch_size larger, "
            "training.accumulation smaller, or set pretrain.koleo_weight: 0"
        )
    with torch.autocast(embeddings.device.type, enabled=False):
        points = F.normalize(embeddings.float(), dim=-1)
        with torch.no_grad():
            nearest = (points @ points.T).fill_diagonal_(-torch.inf).argmax(dim=1)
        return -((points - points[nearest]).norm(dim=-1) + SMALLEST).log().mean()
