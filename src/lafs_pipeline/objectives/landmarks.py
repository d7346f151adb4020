"""Landmark regularizer of the supervised adaptation: stay near the landmarks of the frozen stage-1 network.

Source: LAFS, CVPR 2024 (arXiv 2403.08161), "mitigating variations in landmark positions".
"""

from bisect import bisect_right

import torch
import torch.nn.functional as F

from lafs_pipeline.runtime.errors import LafsError

PIXEL_RANGE = 111.0
"""Largest landmark coordinate in a 112 x 112 image."""

WEIGHT_BOUNDS = (8 / 34, 14 / 34, 21 / 34, 28 / 34)
WEIGHTS = (1000.0, 100.0, 1.0, 0.11, 0.0)


def landmark_regularizer(predicted: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean squared error between landmarks as fractions of the image, a float32 scalar.

    Args:
        predicted: (B, N, 2) pixels in 0..111, of the network being trained.
        reference: (B, N, 2) pixels in 0..111, of the frozen network.
    """
    return F.mse_loss(predicted.float() / PIXEL_RANGE, reference.float() / PIXEL_RANGE)


def landmark_weight(progress: float) -> float:
    """Weight of the regularizer: 1000, 100, 1, 0.11, then 0, over the training.

    The authors' steps, at epochs 8, 14, 21 and 28 of 34, as fractions of training.

    Args:
        progress: fraction of training done, in [0, 1].

    Raises:
        LafsError: a progress outside [0, 1].
    """
    if not 0 <= progress <= 1:
        raise LafsError(
            f"The landmark weight got progress {progress}; expected a fraction of training, 0 to 1."
        )
    return WEIGHTS[bisect_right(WEIGHT_BOUNDS, progress)]
