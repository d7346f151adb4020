"""A folder to take away: timm, onnxruntime and the authors' code can read what is in it."""

import json

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from lafs_pipeline.interop.model_card import best_threshold, describe_model, describe_training, read_card
from lafs_pipeline.interop.model_export import ModelExport, write_export
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.interop.official import load_part_fvit
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import FViT, build_model
from lafs_pipeline.runtime.errors import LafsError

SIZES = {"depth": 1, "dim": 40, "heads": 2, "mlp_dim": 48, "num_landmarks": 16, "patch_size": 16}
DATASET_CARD = {
    "fingerprint": "5" * 32,
    "sources": {"faces": {}},
    "splits": {"train": {"images": 7, "identities": 2, "unlabeled": 1}, "lfw": {"images": 4}},
}


def small_model():
    return build_model("part_fvit_tiny_patch8_112", SIZES).eval()


def benchmark_rows(digest, benchmark="lfw", threshold=0.25, **changes):
    facts = {
        **{"model": "lafs", "benchmark": benchmark, "model_digest": digest, "threshold": threshold},
        **{"flip": True, "normalized": False, "detector_score": False, "alignment": "arcface-112"},
        **{"pairs": 6000, "excluded_pairs": 0, "overlap": pd.NA, "data_fingerprint": "7" * 32},
    }
    rows = [("accuracy", 0.75, 0.7, 0.8), ("tar_at_far_0.001", 0.5, np.nan, np.nan)]
    return pd.DataFrame(
        [
            facts | changes | {"metric": metric, "value": value, "low": low, "high": high}
            for metric, value, low, high in rows
        ]
    )


def card_of(model, benchmarks=None):
    return describe_model(model, model_digest(model), describe_training(DATASET_CARD), benchmarks)


def test_the_card_says_what_is_needed(tmp_path):
    model = small_model()
    digest = model_digest(model)
    table = pd.concat([benchmark_rows("0" * 64, "cfp_fp"), benchmark_rows(digest)], ignore_index=True)
    adapted = pd.DataFrame(
        {"key": ["a", "b"], "exact_hash": [1, 2], "identity": ["x", "x"], "split": "train"}
    ).assign(channel_order="rgb")
    card = describe_model(model, digest, describe_training(DATASET_CARD, adapted), table)
    write_export(ModelExport(model, card, ()), tmp_path)
    read = json.loads((tmp_path / "config.json").read_text(), parse_constant=pytest.fail)
    assert read == read_card(tmp_path)
    assert read["model_args"] == model.sizes
    assert read["model_digest"] == digest
    assert read["preprocessing"]["template"][0] == [38.2946, 51.6963]
    assert read["preprocessing"]["scaling"] == "x / 127.5 - 1"
    assert read["training_data"]["fingerprint"] == "5" * 32
    assert read["training_data"]["training"] == {"images": 7, "identities": 2, "unlabeled": 1}
    assert read["training_data"]["adaptation"]["images"] == 2
    (score,) = read["scores"]
    assert score["benchmark"] == "lfw"
    assert score["metrics"]["accuracy"] == {"value": 0.75, "low": 0.7, "high": 0.8}
    assert score["metrics"]["tar_at_far_0.001"] == {"value": 0.5, "low": None, "high": None}
    assert (score["flip"], score["pairs"], score["overlap"], score["threshold"]) == (True, 6000, None, 0.25)


def test_the_threshold_comes_from_the_benchmark_with_the_most_pairs():
    model = small_model()
    digest = model_digest(model)
    table = pd.concat(
        [
            benchmark_rows(digest, "lfw", 0.25),
            benchmark_rows(digest, "agedb_30", 0.125, pairs=7000),
            benchmark_rows(digest, "plain", 0.5, pairs=8000, flip=False),
            benchmark_rows(digest, "ijbc", np.nan, pairs=9000),
        ]
    )
    found = best_threshold(card_of(model, table))
    assert (found.cosine, found.benchmark, found.pairs, found.accuracy) == (0.125, "agedb_30", 7000, 0.75)
    assert best_threshold(card_of(model)) is None


@torch.inference_mode()
def test_timm_builds_an_exported_model_by_its_folder(tmp_path):
    model, images = small_model(), torch.rand(2, 3, 112, 112) * 2 - 1
    write_export(ModelExport(model, card_of(model), ("official",)), tmp_path)
    read = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert read.sizes == model.sizes
    assert torch.equal(read(images), model(images))
    data = timm.data.resolve_model_data_config(read)
    assert [list(data[name]) for name in ("input_size", "mean", "std")] == [
        [3, 112, 112],
        [0.5] * 3,
        [0.5] * 3,
    ]
    untrained = timm.create_model(f"local-dir:{tmp_path}").eval()
    assert not torch.equal(untrained(images), model(images))
    assert torch.equal(load_model(tmp_path / "model.safetensors")(images), model(images))
    assert torch.equal(load_part_fvit(tmp_path / "official.pth")(images), model(images))


@pytest.mark.parametrize("name", ["part_fvit_tiny_patch8_112", "fvit_tiny_patch8_112"])
def test_timm_loads_a_model_file_by_name_and_path(tmp_path, name):
    model = timm.create_model(name, depth=1)
    save_model(model, tmp_path / "model.safetensors")
    read = timm.create_model(name, depth=1, checkpoint_path=tmp_path / "model.safetensors")
    assert all(torch.equal(read.state_dict()[key], value) for key, value in model.state_dict().items())


def test_an_earlier_export_leaves_nothing_behind(tmp_path):
    model = small_model()
    write_export(ModelExport(model, card_of(model), ("official",)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json", "official.pth"}
    grid = FViT(**{name: SIZES[name] for name in ("depth", "dim", "heads", "mlp_dim", "patch_size")})
    with pytest.raises(LafsError, match="FViT"):
        write_export(ModelExport(grid, card_of(grid), ("official",)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors"}


def test_cards_of_others_and_damaged_ones(tmp_path):
    assert read_card(tmp_path) is None
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    assert read_card(tmp_path) is None
    (tmp_path / "config.json").write_text('{"format": ')
    with pytest.raises(LafsError, match=r"config\.json cannot be read"):
        read_card(tmp_path)
