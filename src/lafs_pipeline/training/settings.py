"""Settings that every trained stage has."""

import json
from dataclasses import asdict
from typing import Any, Literal

from lafs_pipeline.runtime.settings import setting, settings


@settings
class TrainingSettings:
    """How long, how fast and how carefully a stage trains."""

    epochs: int = setting("passes over the training images", 10, ge=1)
    batch_size: int = setting("images of one optimiser step, over all processes", 64, ge=1)
    accumulation: int = setting("parts a step is computed in, to save memory", 1, ge=1)
    learning_rate: float = setting("peak learning rate at `reference_batch` images a step", 5e-4, gt=0)
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
    precision: Literal["auto", "float32", "bf16"] = setting(
        "autocast precision; auto is bf16 on GPUs that have it and float32 elsewhere", "auto"
    )
    workers: int = setting(
        "processes that load and augment images; 0 does it in the training process", 1, ge=0
    )
    log_every: int = setting("steps between logged metrics", 10, ge=1)
    checkpoint_every: int = setting("steps between checkpoints", 200, ge=1)
    keep_checkpoints: int = setting("how many of the newest checkpoints stay", 2, ge=1)
    probe_every: int = setting("epochs between probes", 5, ge=1)
    resume: Literal["auto", "never"] = setting(
        "auto continues an unfinished run of the same configuration; never starts over", "auto"
    )

    def peak_learning_rate(self) -> float:
        """The learning rate after warm-up, for this batch size."""
        ratio = self.batch_size / self.reference_batch
        return self.learning_rate * (ratio if self.batch_scaling == "linear" else ratio**0.5)


OPERATIONAL = ("workers", "log_every", "checkpoint_every", "keep_checkpoints", "probe_every", "resume")


def deciding_configuration(stage_settings: Any) -> dict[str, Any]:
    """A stage's settings as a JSON object, without those that do not change what is learned.

    Args:
        stage_settings: a settings dataclass with a field `training`.
    """
    values = json.loads(json.dumps(asdict(stage_settings)))
    for name in OPERATIONAL:
        del values["training"][name]
    return values
