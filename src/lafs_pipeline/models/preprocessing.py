"""What an image is made into for a model that takes it in another form than ours."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lafs_pipeline.models.choice import ModelChoice
from lafs_pipeline.models.part_fvit import IMAGE_SIZE


class Preprocessed(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> embeddings (B, dim) of a model that takes them in another form.

    Args:
        model: takes images (B, 3, image_size, image_size) as the others say.
        choice: channels, mean and std.
        image_size: side in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, choice: ModelChoice, image_size: int) -> None:
        super().__init__()
        self.model, self.image_size, self.is_bgr = model, image_size, choice.channels == "bgr"
        for name in ("mean", "std"):
            value = getattr(choice, name)
            tensor = torch.tensor(0.5 if value is None else value, dtype=torch.float32)
            self.register_buffer(name, tensor.reshape(-1, 1, 1), persistent=False)
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        self.preprocessing = _in_words(image_size, mean, std, choice.channels or "rgb")
        self.sizes: Any = {"preprocessing": self.preprocessing, "of": getattr(model, "sizes", None)}

    def forward(self, images: Tensor) -> Tensor:
        """Embed images."""
        images = images.flip(1) if self.is_bgr else images
        if images.shape[-1] != self.image_size:
            images = F.interpolate(images, self.image_size, mode="bicubic", align_corners=False)
        return self.model(((images + 1) / 2 - self.mean) / self.std)


def preprocessing_of(model: Any) -> str:
    """What an image is made into for a model, in words: for the table."""
    sizes = getattr(model, "sizes", None) or {}
    known = sizes.get("image_size", IMAGE_SIZE), sizes.get("mean", [0.5]), sizes.get("std", [0.5])
    return getattr(model, "preprocessing", None) or _in_words(*known, "rgb")


def _in_words(image_size: int, mean: Sequence[float], std: Sequence[float], channels: str) -> str:
    numbers = [" ".join(f"{value:g}" for value in dict.fromkeys(values)) for values in (mean, std)]
    return f"{image_size} px {channels}, mean {numbers[0]}, std {numbers[1]}"
