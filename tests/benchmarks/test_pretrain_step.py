"""The benchmarks count and measure what they say."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.pretrain_step import PROGRESS, cached_landmarks, matrix_products
from benchmarks.reference import reference_patches, view_batch, whole_batch
from torch.utils.flop_counter import FlopCounterMode

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.training.self_supervised import PretrainSettings, SelfSupervisedStage

PROJECT = Path(__file__).parents[2]


def test_the_matrix_products_are_those_that_torch_counts_in_a_step():
    model = PartFViT(dim=48, depth=3, heads=2, head_dim=16, mlp_dim=64, dropout=0, drop_path=0)
    options = PretrainSettings(prototypes=100, head_hidden_dim=32, head_bottleneck_dim=16, landmarks="cached")
    stage = SelfSupervisedStage(model, options, 100, 10, None)
    counter = FlopCounterMode(display=False)
    batch = cached_landmarks(view_batch(2, 10))
    with counter:
        for loss, _ in stage.losses(batch, whole_batch(PROGRESS, 0, 2)):
            loss.backward()
    counts = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    counted = sum(count for name, count in counts.items() if "attention" not in name)
    attention = {key: count for key, count in matrix_products(stage, 2).items() if key[0] > 1}
    linear = {key: count for key, count in matrix_products(stage, 2).items() if key[0] == 1}

    def operations(products):
        return sum(2 * int(np.prod(key)) * count for key, count in products.items())

    logits_with_targets = 3 * 2 * 2 * 100
    assert counted == operations(linear) + logits_with_targets
    whole, local, widths = 197, 37, 2 * 2 * 16
    forward = sum(
        2 * samples * widths * (2 * tokens * tokens + tokens)
        for samples, tokens in ((4, whole), (4, whole), (16, local))
    )
    backward = 2 * (forward - 2 * 4 * widths * (2 * whole * whole + whole))
    assert operations(attention) == forward + backward


def test_the_operations_that_mfu_is_computed_from_are_those_products():
    model = PartFViT(dim=96, depth=3, heads=3, head_dim=32, mlp_dim=128, landmark_width=0.25)
    stage = SelfSupervisedStage(model, PretrainSettings(prototypes=1000, landmarks="cached"), 100, 10, None)
    products = sum(2 * int(np.prod(key)) * count for key, count in matrix_products(stage, 1).items())
    # The gradient of the patches themselves, which nothing needs, is no product of a step.
    assert products < stage.operations() < 1.05 * products


def test_both_sides_cut_the_same_patches():
    images, points = torch.rand(3, 3, 112, 112), torch.rand(3, 11, 2) * 130 - 10
    # One float32 step of a coordinate is 1e-5 pixels, and between neighbors noise may change by 1.
    torch.testing.assert_close(
        sample_patches(images, points, 8), reference_patches(images, points, 8), rtol=0, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "arguments", "figures"),
    [
        ("gpu", [], {"pretrain_images_per_second", "pretrain_paper_hours", "adapt_loader_share"}),
        ("scaling", ["--images", "48", "--rounds", "1"], {"scaling"}),
        (
            "contention",
            ["--seconds", "0.5", "--recipes", "demo"],
            {"demo_warps_quiet", "demo_adaptation_busy"},
        ),
        ("small_step", ["--batch-sizes", "2", "--rounds", "1"], {"warps_2", "pretraining_2"}),
        (
            "rehearsal",
            ["--rows", "2000", "--workers", "1", "--steps", "2", "--classes", "2000"],
            {"fingerprint, seconds", "2 processes, 1 loaders each: loader, the largest, private"},
        ),
    ],
)
def test_benchmarks_end_with_a_line_of_json(benchmark, arguments, figures):
    tiny = ["--model", "part_fvit_tiny_patch8_112", "--prototypes", "64", "--batch-sizes", "2"]
    tiny += ["--classes", "9", "--precisions", "float32", "--modes", "eager"]
    tiny += ["--steps", "1", "--workers", "1"]
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments, "--json"]
    command += tiny if benchmark == "gpu" else []
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    assert figures <= values.keys()
    assert all(value >= 0 for value in values.values())


@pytest.mark.slow
def test_the_profile_is_written(tmp_path):
    command = [sys.executable, "-m", "benchmarks.profile_step", "--batch-size", "2", "--prototypes", "64"]
    subprocess.run([*command, "--out", tmp_path], cwd=PROJECT, check=True, capture_output=True)
    assert "aten::mm" in (tmp_path / "profile.txt").read_text()
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
