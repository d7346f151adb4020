"""A small vision transformer in timm's layout, as people have it on disk."""

import json
from pathlib import Path

import timm
from safetensors.torch import save_file
from torch import nn

ARCHITECTURE = "vit_tiny_patch16_224"
SMALL = {"img_size": 64, "depth": 2, "embed_dim": 32, "num_heads": 2}


def write_timm_folder(folder: Path) -> nn.Module:
    """The model, whose size and normalization are its own."""
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **SMALL)
    save_file(model.state_dict(), folder / "model.safetensors")
    own = {"input_size": [3, 64, 64], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "num_classes": 0}
    config = {"architecture": ARCHITECTURE, "model_args": SMALL, "pretrained_cfg": own}
    (folder / "config.json").write_text(json.dumps(config))
    return model.eval()
