"""How models are benchmarked: beside the functions, to be read without torch."""

from typing import Literal

from lafs_pipeline.runtime.settings import setting, settings


@settings
class EvaluateSettings:
    """How models are benchmarked."""

    flip: bool = setting("sum the embeddings of image and mirror image (flag F)", True)
    normalize_images: bool = setting(
        "templates: bring every image's embedding to length 1 first (N0 of InsightFace); else its length "
        "weights it (N1)",
        False,
    )
    detector_scores: bool = setting(
        "templates: weight images by their detector score (D1 of InsightFace)", True
    )
    resamples: int = setting("bootstrap resamples of the confidence intervals; 0 gives none", 1000, ge=0)
    batch_size: int = setting("images a forward pass", 64, ge=1)
    workers: int = setting("processes that decode images, for each that embeds", 1, ge=0)
    precision: Literal["float32", "float16"] = setting("numbers that embeddings are kept in", "float32")
    arithmetic: Literal["float32", "tf32", "bf16"] = setting(
        "matrix products of the models; tf32 and bf16 are quicker on a GPU and move scores a little",
        "float32",
    )
