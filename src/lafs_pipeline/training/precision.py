"""Numeric precision of a training step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a `precision` setting; `auto` is bf16 on GPUs that have it, else float32."""
    if precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        precision = "bf16"
    dtype = HALVES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision in HALVES)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Choose algorithms that repeat bit for bit on a GPU, for a while; where there is none, torch warns."""
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
