"""Checkpoints: their files, the folders of trainings, and where a training resumes."""

from lafs_pipeline.training.checkpoints.files import (
    NAME,
    OPTIMIZER,
    RECORD,
    TEMPORARY,
    WEIGHTS,
    Checkpoint,
    candidates,
    clear,
    load_finished,
    load_latest,
    read_record,
    remove,
    require_fitting,
    step_of,
    verify,
    write,
)

__all__ = [
    "NAME",
    "OPTIMIZER",
    "RECORD",
    "TEMPORARY",
    "WEIGHTS",
    "Checkpoint",
    "candidates",
    "clear",
    "load_finished",
    "load_latest",
    "read_record",
    "remove",
    "require_fitting",
    "step_of",
    "verify",
    "write",
]
