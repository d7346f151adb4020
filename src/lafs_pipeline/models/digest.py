"""One digest of a model."""

import hashlib
import json

import torch
from torch import nn


def model_digest(model: nn.Module) -> str:
    """SHA-256 of a model: sizes, and names, dtypes, shapes and bytes of weights; 64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(getattr(model, "sizes", None), sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
