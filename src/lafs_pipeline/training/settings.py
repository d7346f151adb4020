"""Settings that every trained stage has."""

import json
from dataclasses import asdict
from typing import Any, Literal

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.settings import setting, settings


@settings
class TrainingSettings:
    """How long, how fast and how carefully a stage trains."""

    epochs: int = setting("passes over the training images", 10, ge=1)
    batch_size: int = setting("images of one optimizer step, over all processes", 64, ge=1)
    accumulation: int = setting(
        "micro-batches that one process computes a step in, to save memory; several share them. BatchNorm "
        "sees one at a time",
        1,
        ge=1,
    )
    learning_rate: float = setting("peak learning rate at `reference_batch` images per step", 5e-4, gt=0)
    reference_batch: int = setting("batch size that `learning_rate` is given for", 256, ge=1)
    batch_scaling: Literal["linear", "sqrt"] = setting(
        "how the learning rate follows the batch size", "linear"
    )
    final_learning_rate: float = setting("learning rate at the end of the cosine", 1e-6, ge=0)
    warmup_epochs: float = setting("linear warm-up from 0", 1.0, ge=0)
    weight_decay: float = setting("AdamW weight decay at the start; 1-D parameters have none", 0.04, ge=0)
    final_weight_decay: float | None = setting(
        "weight decay at the end of its cosine; null keeps it constant", None, ge=0
    )
    clip_norm: float | None = setting("largest gradient norm; null does not clip", 3.0, gt=0)
    clip_mode: Literal["parameter", "global"] = setting(
        "whether the norm is each parameter's (as DINO) or that of all together", "parameter"
    )
    precision: Literal["auto", "float32", "bf16", "fp16"] = setting(
        "autocast precision; auto is bf16 on GPUs that compute in it, fp16 on others and float32 on a CPU; "
        "fp16 scales the loss",
        "auto",
    )
    compile: bool | Literal["auto"] = setting(
        "compile the step with torch.compile, which takes a minute before the first; auto does it on a GPU",
        False,
    )
    deterministic: bool = setting("choose GPU algorithms that repeat bit for bit; a CPU always does", False)
    recompute_activations: bool = setting(
        "compute the transformer's activations again in the backward pass, to save memory", False
    )
    workers: int = setting(
        "processes that load and augment images; 0 does it in the training process", 1, ge=0
    )
    log_every: int = setting("steps between logged metrics", 10, ge=1)
    checkpoint_every: int = setting("steps between checkpoints", 200, ge=1)
    keep_checkpoints: int = setting(
        "how many of the newest checkpoints stay, besides the one with the best probe", 2, ge=1
    )
    milestone_every: int | None = setting("steps between checkpoints that stay for good", None, ge=1)
    probe_every: int = setting("epochs between probes", 5, ge=1)
    resume: Literal["auto", "never", "must", "extend"] = setting(
        "auto resumes a training of the same configuration; never starts another beside it; must refuses to "
        "start; extend takes the newest finished one of fewer epochs on, its schedules recomputed",
        "auto",
    )
    max_minutes: float | None = setting("minutes after which a run stops with a checkpoint", None, gt=0)
    max_skipped: int = setting("steps without a finite loss, one after the other, that end a run", 10, ge=1)

    def __post_init__(self):
        if self.final_weight_decay and not self.weight_decay:
            raise LafsError(
                f"training.final_weight_decay is {self.final_weight_decay:g} and training.weight_decay 0, "
                "where no cosine starts: give a small weight_decay such as 1e-6, or final_weight_decay null"
            )

    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up, for this batch size."""
        ratio = self.batch_size / self.reference_batch
        return self.learning_rate * (ratio if self.batch_scaling == "linear" else ratio**0.5)


OPERATIONAL = (
    "recompute_activations",
    "workers",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "milestone_every",
    "probe_every",
    "resume",
    "max_minutes",
    "max_skipped",
)


def deciding_configuration(stage_settings: Any) -> dict[str, Any]:
    """A stage's settings as a JSON object, without those that do not change what is learned.

    Args:
        stage_settings: a settings dataclass with the field `training`, and perhaps `probe_images`.
    """
    values = json.loads(json.dumps(asdict(stage_settings)))
    values.pop("probe_images", None)
    for name in OPERATIONAL:
        del values["training"][name]
    return values
