"""Settings of evaluation, beside the functions, to be read without torch."""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from lafs_pipeline.models.choice import ModelChoice
from lafs_pipeline.models.methods import FROZEN, ORDER, in_order, leading
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.sources.open import keep_local

Method = Literal["scratch", "scratch_grid", "grid", "lafs", "lafs_no_noise", "lafs_all_landmarks"]
NAME = re.compile(r"\w[\w.-]*")
FROM_SCRATCH = ("scratch", "scratch_grid")


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
    models: dict[str, ModelChoice] = setting(
        "further models, by the name of their rows; a text stands for `path` alone", {}
    )
    reference: str | None = setting(
        "model to which the others' differences are told; null takes LAFS, else what is nearest to it", None
    )

    def __post_init__(self):
        for name in self.models:
            if not NAME.fullmatch(name) or name.removesuffix(FROZEN) in ORDER:
                raise LafsError(
                    f"models has the name '{name}'; expected letters, digits and _.- and none of "
                    f"{', '.join(ORDER)}, which name this project's own"
                )

    def of(self, name: str) -> "EvaluateSettings":
        """With what is stated of a model."""
        choice = self.models.get(name)
        return self if choice is None else replace(self, flip=choice.flips(self.flip))

    def reference_of(self, names: Collection[str]) -> str | None:
        """The model of these to which the others' differences are told; None without any.

        Raises:
            LafsError: the one that is named is none of these.
        """
        if not names or self.reference is None:
            return leading(names)
        if self.reference not in names:
            raise LafsError(
                f"evaluate.reference is '{self.reference}'; the models are {', '.join(in_order(names))}"
            )
        return self.reference


@settings
class LandmarkQualitySettings:
    """On which images the landmark network is measured."""

    faces: int = setting("training faces, evenly spaced in the manifest", 256, ge=2, le=4096)
    noise: float = setting("standard deviation of the pixel noise in gray levels of 0..255", 8.0, ge=0)
    annotations: str | None = setting(
        "folder of images with 68 points each in 300-W's layout (.pts) by which landmarks are judged; null "
        "takes the five points that sources give",
        None,
    )

    def __post_init__(self):
        keep_local(self, "annotations")


@settings
class StudySettings:
    """Which adaptations are compared.

    Raises:
        LafsError: for doubled values and negative shots.
    """

    methods: tuple[Method, ...] = setting(
        "how the transformer starts; scratch is the backbone of that name, scratch_grid the same on the "
        "plain grid; lafs_no_noise is LAFS without landmark noise, lafs_all_landmarks without subsets of "
        "them in local views",
        ("scratch", "grid", "lafs"),
        min_length=1,
    )
    shots: tuple[int, ...] = setting(
        "labeled images per identity; 0 benchmarks the start as it is, without adaptation",
        (1, 2, 4, 10),
        min_length=1,
    )
    seeds: tuple[int, ...] = setting("of shots, start and order of an adaptation", (0, 1, 2), min_length=1)
    steps: int | None = setting(
        "optimizer steps of every adaptation, however many images it has; null keeps adapt's epochs",
        None,
        ge=1,
    )

    def __post_init__(self):
        for name in ("methods", "shots", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise LafsError(f"{name} is {list(values)}; each value may stand once")
        if any(count < 0 for count in self.shots):
            raise LafsError(f"shots is {list(self.shots)}; expected 0 (no adaptation) or more")
