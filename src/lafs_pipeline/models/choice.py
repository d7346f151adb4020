"""A model that is benchmarked beside those of a run, as it is stated; read without torch."""

from pathlib import Path
from typing import Literal

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings

ARCFACE = "arcface-112"
EMBEDDINGS = (".npy", ".parquet")
"""Files that stand in place of a model."""


@settings
class ModelChoice:
    """A model that is benchmarked, and what has to be said of it; null is what is known of its kind."""

    path: str = setting(
        "a .safetensors file or exported folder of ours, an authors' checkpoint (.pth), an ONNX file, "
        "embeddings with keys (.parquet, or .npy with a .txt of keys beside it), a name of timm or "
        "local-dir:FOLDER"
    )
    image_size: int | None = setting("side of the images that it takes, in pixels", None, ge=16)
    mean: float | tuple[float, float, float] | None = setting(
        "subtracted from images in [0, 1], of all channels or of each in its order; null: 0.5", None
    )
    std: float | tuple[float, float, float] | None = setting(
        "by which they are then divided; null: 0.5, which gives [-1, 1]; 1 gives x / 255 - 0.5, as the "
        "authors' code evaluates",
        None,
    )
    channels: Literal["rgb", "bgr"] | None = setting("order of the channels; null: rgb", None)
    flip: bool | None = setting(
        "sum the embeddings of image and mirror image; null: evaluate.flip. Of embeddings in a file: whether "
        "that was done",
        None,
    )
    template: str = setting("crop that it was trained on: recorded; faces are not aligned anew", ARCFACE)
    output: str | None = setting("ONNX: the output that is the embedding, where there are several", None)
    landmarks: str | None = setting(
        "of an authors' pretraining checkpoint: the landmark network, a .safetensors of ours or a supervised "
        "checkpoint of theirs",
        None,
    )
    network: Literal["teacher", "student"] = setting("of an authors' pretraining checkpoint", "teacher")

    def __post_init__(self):
        for name in ("mean", "std"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(map(float, value)))
        if self.std is not None and min((self.std,) if isinstance(self.std, int | float) else self.std) <= 0:
            raise LafsError(f"std is {self.std}; expected numbers above 0")

    def flips(self, otherwise: bool) -> bool:
        """Flag F: as stated, else `otherwise`, which says nothing of embeddings that are made already."""
        if self.flip is None:
            return otherwise and Path(self.path).suffix not in EMBEDDINGS
        return self.flip
