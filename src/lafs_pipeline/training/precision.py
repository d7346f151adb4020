"""Numeric precision of a training step."""

import torch

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of a `precision` setting; `auto` is bf16 on GPUs that have it, else float32."""
    if precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        precision = "bf16"
    dtype = HALVES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision in HALVES)
