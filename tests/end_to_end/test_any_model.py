"""Models that were not trained here, on cataloged benchmarks, as a user types it."""

import pandas as pd
import pytest
import torch

from lafs_pipeline.interop.official import save_part_fvit
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import build_model

SIZES = {"depth": 1, "dim": 64, "heads": 1, "head_dim": 64, "mlp_dim": 32, "num_landmarks": 16}


@pytest.mark.slow
def test_nothing_has_to_be_trained(kedro, tmp_path):
    torch.manual_seed(0)
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    checkpoint, data = tmp_path / "checkpoint.pth", tmp_path / "data"
    save_part_fvit(model, checkpoint)
    run = ("run", "--env", "smoke")
    assert kedro(data, *run, "--pipelines=cataloging").returncode == 0
    refused = kedro(data, *run, "--pipelines=evaluate")
    assert "face_models is not there yet; first run: kedro run --pipelines=adapt" in refused.stderr
    given = f"evaluate.models.authors={checkpoint}"
    finished = kedro(data, *run, "--pipelines=evaluate,report", "--params", given)
    assert finished.returncode == 0, finished.stderr
    table = pd.read_csv(data / "08_reporting/benchmarks.csv")
    assert table["model"].unique().tolist() == ["authors"]
    assert table["model_digest"].unique().tolist() == [model_digest(model)]
    assert (table["images_per_second"] > 0).all()
    assert "Differences" not in (data / "08_reporting/report.html").read_text()
    assert table["preprocessing"].unique().tolist() == ["112 px rgb, mean 0.5, std 0.5"]
