"""What the stages of a recipe are made of: settings alone, to be read without torch."""

from dataclasses import replace
from typing import Any, Literal

from lafs_pipeline.models.methods import ORDER
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings
from lafs_pipeline.sources.open import keep_local
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.views.parameters import TEACHER_VIEWS, AugmentationSettings, ViewSettings, WarpSettings

OF_LANDMARKS = ("landmark_sigma", "local_landmarks", "with_replacement", "shuffle_global", "token_positions")
"""Settings of views that only speak of landmarks."""


@settings
class GridSettings:
    """DINO's own small crops; landmarks cannot be found in them, and LAFS does not use them."""

    local_size: int = setting("side of grid DINO's local views in pixels", 48, ge=8)
    local_scale: tuple[float, float] = setting("share of the image area in them", (0.05, 0.4))


@settings
class PretrainSettings:
    """Self-supervised pretraining (LAFS section 3; defaults are the published recipe)."""

    methods: tuple[Literal["grid", "lafs"], ...] = setting(
        "what is pretrained, each with its own backbone and row of the table, over as many images: lafs, and "
        "grid, which is plain DINO on the same transformer and needs no landmarks",
        ("lafs",),
        min_length=1,
    )
    grid: GridSettings = setting("local views of grid", GridSettings())
    landmarks: Literal["per_view", "cached"] = setting(
        "per_view finds landmarks in every view, as the paper; cached finds them once an image and moves "
        "them through each view's geometry",
        "per_view",
    )
    views: ViewSettings = setting("the views of an image", ViewSettings())
    prototypes: int = setting("K, the width of the DINO head's output", 100_000, ge=2)
    head_hidden_dim: int = setting("hidden width of the DINO head", 2048, ge=1)
    head_bottleneck_dim: int = setting("width of the DINO head before the prototypes", 256, ge=1)
    student_temperature: float = setting("student softmax temperature", 0.1, gt=0)
    teacher_temperature_start: float = setting("teacher softmax temperature in epoch 0", 0.07, gt=0)
    teacher_temperature: float = setting("teacher softmax temperature after its warm-up", 0.04, gt=0)
    teacher_temperature_epochs: int = setting("epochs between the two temperatures", 30, ge=0)
    center_momentum: float = setting("EMA of the teacher's center", 0.9, ge=0, lt=1)
    koleo_weight: float = setting(
        "weight of KoLeo, which spreads the embeddings of different images; DINOv2 has 0.1, the paper none",
        0.0,
        ge=0,
    )
    teacher_momentum: float = setting(
        "EMA of the teacher's weights at the start; 1 at the end", 0.996, ge=0, le=1
    )
    teacher_mode: Literal["eval", "train"] = setting(
        "train leaves the teacher's dropout active, as the authors' code does", "eval"
    )
    freeze_last_layer_epochs: int = setting("epochs in which the prototypes stay as they are", 1, ge=0)
    probe_images: int = setting("labeled images of the k-NN probe; 0 leaves it out", 1000, ge=0)
    training: TrainingSettings = setting(
        "schedule and optimizer",
        TrainingSettings(
            epochs=41,
            batch_size=164,
            learning_rate=5e-4,
            reference_batch=256,
            warmup_epochs=10,
            weight_decay=0.04,
            final_weight_decay=0.4,
        ),
    )

    def __post_init__(self):
        if self.views.global_views != TEACHER_VIEWS:
            raise LafsError(
                f"views.global_views is {self.views.global_views}; DINO's teacher sees {TEACHER_VIEWS}"
            )
        if len(set(self.methods)) < len(self.methods):
            raise LafsError(f"methods is {list(self.methods)}; each may stand once")
        if "lafs" in self.methods and self.views.local_size != self.views.size:
            raise LafsError(
                f"views.local_size is {self.views.local_size}; landmarks are found in views of "
                f"{self.views.size} pixels (grid.local_size is that of grid DINO)"
            )

    def recipes(self) -> dict[str, "PretrainSettings"]:
        """By method, the recipe of that method alone; landmarks are no part of the grid's."""
        default = ViewSettings()
        of_landmarks: dict[str, Any] = {name: getattr(default, name) for name in OF_LANDMARKS}
        small, scale = self.grid.local_size, self.grid.local_scale
        grid_views = replace(self.views, local_size=small, local_scale=scale, **of_landmarks)
        changes: dict[str, dict[str, Any]] = {
            "lafs": {},
            "grid": {"views": grid_views, "landmarks": "per_view"},
        }
        return {
            method: replace(self, methods=(method,), grid=GridSettings(), **changes[method])
            for method in self.methods
        }

    def with_landmarks(self) -> bool:
        """Whether tokens are cut at landmarks.

        Raises:
            LafsError: for the recipes of several methods.
        """
        if len(self.methods) > 1:
            raise LafsError(f"methods is {list(self.methods)}; a pretraining takes one of `recipes()`")
        return self.methods == ("lafs",)

    def needs_clean_views(self) -> bool:
        """Whether landmarks are found in the views."""
        return self.with_landmarks() and self.landmarks == "per_view"


@settings
class RecognitionSettings:
    """Margin-loss training on identity labels (defaults are the published adaptation)."""

    loss: Literal["cosface", "arcface", "adaface"] = setting(
        "margin loss; cosface alone takes the soft targets of mixup", "cosface"
    )
    scale: float = setting("scale s of the cosines", 64.0, gt=0)
    margin: float = setting(
        "margin m; published are 0.4 for CosFace (Part fViT), 0.5 (radians) for ArcFace, 0.4 for AdaFace",
        0.4,
        ge=0,
        lt=1,
    )
    augmentation: AugmentationSettings = setting("augmentation of an image", AugmentationSettings())
    landmark_regularization: float = setting(
        "factor on the weight that ties landmarks to those of stage 1; 0 leaves them free", 1.0, ge=0
    )
    layer_decay: float = setting(
        "learning-rate factor from layer to layer; 1 is one rate for all", 0.58, gt=0, le=1
    )
    freeze_landmark_network: bool = setting(
        "leave the landmark network as it is, its BatchNorm statistics included", False
    )
    freeze_blocks: int = setting(
        "first blocks of the transformer that stay as they are, with patch embedding, class token and "
        "positions before them; 0 trains all",
        0,
        ge=0,
    )
    shard_classes: bool = setting(
        "shard the class matrix over the processes (Partial FC); worth it from some 100,000 identities",
        False,
    )
    class_sample_rate: float = setting(
        "share of the classes a step compares with, those of its images always among them; below 1 the class "
        "matrix is sharded",
        1.0,
        gt=0,
        le=1,
    )
    landmark_weight_decay: float = setting("weight decay in the trunk of the landmark network", 0.05, ge=0)
    probe_images: int = setting("labeled images of the k-NN probe; 0 leaves it out", 1000, ge=0)
    training: TrainingSettings = setting(
        "schedule and optimizer",
        TrainingSettings(
            epochs=34,
            batch_size=1200,
            accumulation=3,
            learning_rate=2.1e-3,
            reference_batch=1008,
            batch_scaling="sqrt",
            warmup_epochs=5,
            weight_decay=0.1,
            clip_norm=None,
        ),
    )

    def __post_init__(self):
        if self.loss != "cosface" and self.augmentation.mixup_probability > 0:
            raise LafsError(
                f"loss is {self.loss}, which is defined for whole class numbers, but "
                f"augmentation.mixup_probability is {self.augmentation.mixup_probability:g}; set it to 0, or "
                "take cosface"
            )

    def shards_classes(self) -> bool:
        """Whether every process holds some rows of the class matrix instead of all."""
        return self.shard_classes or self.class_sample_rate < 1


@settings
class WarpTrainingSettings:
    """How the landmark network learns from warps."""

    warp: WarpSettings = setting("how faces are warped", WarpSettings())
    regressor_rate: float = setting("learning rate of the last layer, times that of the trunk", 20.0, gt=0)
    average: float = setting("decay of the moving average of the weights that is kept", 0.995, ge=0, lt=1)
    teacher_start: float = setting(
        "share of the steps after which the mesh is nearly the one that this average finds on the face",
        0.3,
        ge=0,
        le=1,
    )
    training: TrainingSettings = setting(
        "schedule and optimizer",
        TrainingSettings(
            epochs=16,
            batch_size=64,
            learning_rate=2e-3,
            reference_batch=64,
            warmup_epochs=1,
            weight_decay=0.01,
            clip_norm=None,
        ),
    )


@settings
class LandmarkSettings:
    """How the network that finds landmarks comes about."""

    method: Literal["warps", "identities", "weights"] = setting(
        "warps learns from warped faces without labels; identities is the paper's stage 1, which learns from "
        "the labels of all training faces; weights takes an authors' checkpoint",
        "identities",
    )
    weights: str | None = setting("an authors' Part fViT checkpoint, for the method weights", None)
    warps: WarpTrainingSettings = setting("how it learns from warps", WarpTrainingSettings())
    recognition: RecognitionSettings = setting("how it learns from identities", RecognitionSettings())
    extract: Literal["train", "all", "none"] = setting(
        "whose landmarks are kept: the training faces', which pretrain.landmarks: cached reads, all faces', "
        "benchmark images included, or none",
        "train",
    )

    def __post_init__(self):
        keep_local(self, "weights")
        if (self.method == "weights") != (self.weights is not None):
            raise LafsError(
                f"method is {self.method} and weights is {self.weights}: set method to weights and weights to"
                " the path of an authors' checkpoint, or weights to null"
            )


@settings
class TimmSettings:
    """A vision transformer of timm."""

    name: str = setting("timm's name, whose weights are downloaded, or local-dir:FOLDER in its layout")
    image_size: int | None = setting("side of the images it takes; null keeps its own", None, ge=16)


@settings
class AdaptSettings:
    """Adaptation to few labels."""

    shots: int | None = setting("images per identity; null takes all", None, ge=1)
    identity_fraction: float = setting("part of the identities", 1.0, gt=0, le=1)
    min_images: int = setting("identities with fewer images are left out", 1, ge=1)
    keys: str | None = setting("text or Parquet file of manifest keys to choose from, instead of all", None)
    probe_identities: int = setting(
        "identities on which frozen backbones are probed, linearly and by k-NN; 0 leaves it out", 100, ge=0
    )
    timm: dict[str, TimmSettings] = setting("further starts by name of their row, adapted alike", {})
    recognition: RecognitionSettings = setting("how the model is adapted", RecognitionSettings())

    def __post_init__(self):
        keep_local(self, "keys")
        if taken := sorted(set(self.timm) & set(ORDER)):
            raise LafsError(f"timm has {', '.join(taken)}, which is a row already; take another name")
