"""A vision transformer of timm as a face model, with its own patch and input size."""

from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.provenance import Provenance


class TimmModel(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> embeddings (B, dim): resized and normalized as the model wants them.

    Args:
        architecture: timm's name.
        image_size: side of the images that the model takes, in pixels.
        mean: of the normalization, by channel, of images in [0, 1].
        std: likewise.
        arguments: others that the model is made with.
    """

    family = "timm"
    provenance: Provenance | None = None
    transformer: Any
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: str,
        image_size: int,
        mean: list[float],
        std: list[float],
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {
            "architecture": architecture,
            "image_size": image_size,
            "mean": list(mean),
            "std": list(std),
            "arguments": arguments or {},
        }
        self.image_size = image_size
        self.transformer = timm.create_model(
            architecture, num_classes=0, img_size=image_size, **self.sizes["arguments"]
        )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images."""
        if images.shape[-1] != self.image_size:
            images = F.interpolate(images, self.image_size, mode="bicubic", align_corners=False)
        return self.transformer(((images + 1) / 2 - self.mean) / self.std)


FaceModel = PartFViT | FViT | TimmModel
