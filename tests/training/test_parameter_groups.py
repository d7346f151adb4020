import json

import torch
from torch import nn

from lafs_pipeline.interop.official import translate_name
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.training.parameter_groups import decay_groups, layer_decay_groups

SMALL = {"dim": 64, "depth": 2, "heads": 3, "head_dim": 64, "mlp_dim": 96}


def test_layer_decay_table_of_the_authors(parity_dir):
    table = json.loads((parity_dir / "layer_decay.json").read_text())
    model = nn.ModuleDict({"model": PartFViT(**SMALL), "head": nn.Linear(64, 10, bias=False)})
    groups = layer_decay_groups(model, weight_decay=0.1, layer_decay=0.58, landmark_weight_decay=0.05)
    ours = {name: (group["lr_scale"], group["weight_decay"]) for group in groups for name in group["names"]}
    assert len(ours) == len(table)
    for name, entry in table.items():
        own = translate_name(name)
        scale, decay = ours["head.weight" if own is None else f"model.{own}"]
        assert abs(scale - entry["lr_scale"]) < 1e-12, name
        assert decay == entry["weight_decay"], name


def test_every_trainable_parameter_is_in_one_group():
    model = PartFViT(**SMALL)
    model.landmark_network.requires_grad_(False)
    groups = decay_groups(model, 0.04)
    grouped = [parameter for group in groups for parameter in group["params"]]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {id(p) for p in grouped} == {id(p) for p in trainable}
    assert len(grouped) == len(trainable)
    for group in groups:
        assert group["lr_scale"] == 1.0
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.04) for p in group["params"])


def test_optimizer_takes_the_groups():
    model = PartFViT(**SMALL)
    groups = layer_decay_groups(model, 0.1, 0.5, 0.05)
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    assert {group["lr_scale"] for group in optimizer.param_groups} == {0.125, 0.25, 0.5, 1.0}
