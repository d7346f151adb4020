"""What one whole run leaves behind."""

import json
import shutil
import subprocess
import sys
from dataclasses import astuple

import cv2
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import timm
import torch
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from lafs_pipeline.datasets.landmarks_dataset import LandmarksDataset
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.protocols.pair_sets import read_pair_set
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.training.self_supervised import CachedLandmarks
from lafs_pipeline.views.normalize import to_input


def test_every_face_is_in_the_manifest_and_a_store(smoke, faces):
    assert len(faces) == 24 * 8
    stores = pd.read_csv(smoke / "02_intermediate/stores.csv")
    assert (
        set(faces["store"])
        == set(stores["store"])
        == set(map(str, smoke.glob("02_intermediate/faces/*.rec")))
    )
    assert sum(len(RecordIOReader(store)) for store in stores["store"]) == len(faces)
    assert FaceImages(faces)[17].shape == (112, 112, 3)


def test_benchmark_identities_are_never_trained_on(smoke, faces):
    train = set(faces.loc[faces["split"] == "train", "identity"])
    held_out = set(faces.loc[faces["split"] == "held_out", "identity"])
    assert len(train) == 16
    assert len(held_out) == 8
    assert not train & held_out
    adapted = pd.read_parquet(smoke / "05_model_input/adapt_faces.parquet")
    assert set(adapted["identity"]) == train
    assert adapted.groupby("identity").size().eq(4).all()


def test_models_rebuild_from_their_files(smoke, faces):
    network = load_model(smoke / "06_models/landmark_network.safetensors")
    assert isinstance(network, LandmarkNetwork)
    names = [f"backbones/{name}" for name in ("scratch", "grid", "lafs")]
    names += [f"face_models/{name}" for name in ("stage1", "scratch", "grid", "lafs")]
    models = {name: load_model(smoke / f"06_models/{name}.safetensors") for name in names}
    images = to_input(torch.from_numpy(np.stack([FaceImages(faces)[i] for i in range(3)])))
    assert all(isinstance(model, FViT if "grid" in name else PartFViT) for name, model in models.items())
    assert all(model(images).shape == (3, 96) for model in models.values())
    weights = [model.transformer.positions for model in models.values()]
    assert not any(torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])
    for name in ("scratch", "lafs"):
        own = models[f"backbones/{name}"].landmark_network
        assert model_digest(own) == model_digest(network)


def test_landmarks_are_those_of_the_network(smoke, faces):
    found = LandmarksDataset(str(smoke / "04_feature/landmarks")).load()
    train = faces[faces["split"] == "train"]
    assert sorted(found.rows.index) == sorted(train["key"])
    network = load_model(smoke / "06_models/landmark_network.safetensors")
    image = to_input(torch.from_numpy(FaceImages(train)[5])[None])
    with torch.inference_mode():
        expected = torch.cat((network(image), network(image.flip(-1))))
    stored = CachedLandmarks.of(train, found)[5]
    np.testing.assert_allclose(stored, expected.numpy(), atol=0.05)


def test_the_table_has_rows_for_every_model(smoke):
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv")
    assert {"model", "benchmark", "metric", "value", "flip", "normalized", "alignment"} <= set(table.columns)
    frozen = [f"{name}_frozen" for name in ("scratch", "grid", "lafs")]
    assert table["model"].unique().tolist() == ["stage1", "scratch", "grid", "lafs", *frozen]
    counts = table.groupby(["model", "benchmark"])["metric"].nunique()
    assert counts.nunique() == 1
    assert table["value"].between(0, 1).all()


def test_frozen_models_are_probed(smoke):
    table = pd.read_csv(smoke / "08_reporting/probes.csv")
    assert set(zip(table["model"], table["probe"], strict=True)) == {
        (model, probe) for model in ("stage1", "scratch", "grid", "lafs") for probe in ("linear", "knn")
    }
    assert (table[["images", "identities", "shots"]] == [16 * 4, 16, 16 * 4]).all(axis=None)
    assert table["accuracy"].between(0, 1).all()


def test_the_report_shows_this_run(smoke):
    page = (smoke / "08_reporting/report.html").read_text(encoding="utf-8")
    card = json.loads((smoke / "08_reporting/dataset_card.json").read_text())
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv")
    worst = pd.read_parquet(smoke / "07_model_output/hardest_pairs.parquet")
    assert card["fingerprint"] in page
    assert all(f"{100 * value:.2f} %" in page for value in table["value"])
    assert all(digest in page for digest in table["model_digest"].unique())
    assert 0 < len(worst) <= 12
    assert all(key in page for key in [*worst["key_a"], *worst["key_b"]])
    assert all(stage in page for stage in ("stage1", "pretrain_lafs", "adapt_grid", "adapt_scratch"))
    assert "kedro run --pipelines=study" in page
    sentences = (smoke / "08_reporting/verdict.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" %")[0].split()[0] for line in sentences] == ["LAFS", "LAFS"]
    assert all("4 images per identity, 4 pretraining steps" in line for line in sentences)
    assert all(page.index(line) < page.index("Contents") for line in sentences)
    assert len(page) < 5_000_000


def test_other_programs_can_read_what_is_exported(smoke, kedro, tmp_path, faces):
    exports = f"export.recordio={tmp_path}/train.rec,export.pair_sets.held_out={tmp_path}/held_out.bin"
    finished = kedro(smoke, "run", "--env", "smoke", "--nodes=cataloging.export", "--params", exports)
    assert finished.returncode == 0, finished.stderr[-3000:]
    train = RecordIOReader(tmp_path / "train.rec")
    assert len(train) == 1 + 16 * 8 + 16
    assert train.read_image(0).labels.tolist() == [129.0, 145.0]
    assert (tmp_path / "property").read_text() == "16,112,112\n"
    pair_set = read_pair_set(tmp_path / "held_out.bin")
    pairs = pd.read_parquet(smoke / "05_model_input/pairs.parquet")
    assert pair_set.is_same.tolist() == pairs["is_same"].tolist()
    first = faces.set_index("key").index.get_loc(pairs["key_a"][0])
    assert pair_set.images[0] == FaceImages(faces).encoded(first)


def test_models_to_take_away(smoke, kedro, faces, tmp_path):
    finished = kedro(smoke, "run", "--env", "smoke", "--pipelines=export")
    assert finished.returncode == 0, finished.stderr[-3000:]
    folder = smoke / "08_reporting/models"
    assert {path.name for path in folder.iterdir()} == {"stage1", "scratch", "grid", "lafs"}
    folders = {path.name: path for path in folder.iterdir()} | {
        "backbone": smoke / "08_reporting/backbones/lafs"
    }
    cards = {name: json.loads((path / "config.json").read_text()) for name, path in folders.items()}
    dataset_card = json.loads((smoke / "08_reporting/dataset_card.json").read_text())
    assert {card["training_data"]["fingerprint"] for card in cards.values()} == {dataset_card["fingerprint"]}
    assert cards["lafs"]["training_data"]["adaptation"]["images"] == 16 * 4
    assert "adaptation" not in cards["stage1"]["training_data"]
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv")
    for name in ("stage1", "scratch", "lafs"):
        rows = table[(table["model"] == name) & (table["benchmark"] == "held_out")]
        score = next(score for score in cards[name]["scores"] if score["benchmark"] == "held_out")
        found = {metric: value["value"] for metric, value in score["metrics"].items()}
        assert found == pytest.approx(dict(zip(rows["metric"], rows["value"], strict=True)))
        assert score["threshold"] == pytest.approx(rows["threshold"].iloc[0])
        assert -1 < score["threshold"] < 1
    assert cards["backbone"]["scores"] == []

    model = timm.create_model(f"local-dir:{folder}/lafs", pretrained=True).eval()
    trained = load_model(smoke / "06_models/face_models/lafs.safetensors")
    image = to_input(torch.from_numpy(FaceImages(faces)[0][None]))
    with torch.inference_mode():
        assert torch.equal(model(image), trained(image))
    for number in (0, 1):
        (tmp_path / f"{number}.png").write_bytes(FaceImages(faces).encoded(number))
    command = [sys.executable, "-m", "lafs_pipeline.commands", "compare", "0.png", "1.png"]
    said = subprocess.run(
        [*command, "--model", folder / "lafs"], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert f"its threshold is {cards['lafs']['scores'][0]['threshold']:.4f}" in said
    assert "120 pairs of held_out" in said


@pytest.mark.slow
def test_an_exported_model_runs_without_torch(smoke, kedro, faces):
    options = ["--pipelines=export", "--nodes=export.export_face_models"]
    finished = kedro(smoke, "run", "--env", "smoke", *options, "--params", "model_export.formats=[onnx]")
    assert finished.returncode == 0, finished.stderr[-3000:]
    session = onnxruntime.InferenceSession(smoke / "08_reporting/models/lafs/model.onnx")
    images = np.stack([FaceImages(faces)[i] for i in range(5)]).transpose(0, 3, 1, 2)
    images = np.float32(images) / 127.5 - 1
    (found,) = session.run(None, {"images": images})
    with torch.inference_mode():
        expected = load_model(smoke / "06_models/face_models/lafs.safetensors")(torch.from_numpy(images))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_the_landmark_network_is_measured_before_and_after_its_training(smoke):
    table = pd.read_csv(smoke / "08_reporting/landmark_quality.csv").set_index("training")
    assert table.index.tolist() == ["before", "after"]
    assert table["landmarks"].tolist() == [49, 49]
    assert table["faces"].tolist() == [24, 24]
    moved = table.loc["before"] != table.loc["after"]
    assert moved[["flip_px", "noise_px", "crop_px", "spread_over_faces_px"]].all()
    assert table["covered"].between(0, 1).all()


@pytest.mark.parametrize(
    "name",
    [
        "contact_sheet",
        "dataset_card",
        "landmark_overlay",
        "landmark_quality",
        "view_montage",
        "roc",
        "attention_maps",
    ],
)
def test_plots_show_something(smoke, name):
    picture = cv2.imread(str(smoke / f"08_reporting/{name}.png"))
    assert picture.shape[0] > 200
    assert picture.std() > 5


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        ("cataloging", "cataloging synthetic"),
        ("landmarks", "landmarks synthetic 96x2"),
        ("pretrain", "pretrain synthetic grid+lafs 96x2"),
        ("adapt", "adapt synthetic grid+lafs 96x2 4-shot"),
        ("evaluate", "evaluate synthetic grid+lafs 96x2"),
        ("report", "report synthetic"),
    ],
)
def test_each_pipeline_runs_alone_in_an_experiment_of_its_own(smoke, kedro, pipeline, name):
    finished = kedro(smoke, "run", "--env", "smoke", f"--pipelines={pipeline}")
    assert finished.returncode == 0, finished.stderr[-3000:]
    client = MlflowClient(f"sqlite:///{smoke}/mlflow.db")
    experiment = client.get_experiment_by_name(f"lafs_pipeline/{pipeline}")
    (run,) = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    assert (run.info.run_name.split(", ")[0], run.info.status) == (name, "FINISHED")
    # What the whole run has trained is not trained again, and a run without a value is not kept.
    is_kept = pipeline not in ("landmarks", "pretrain", "adapt")
    assert run.info.lifecycle_stage == ("active" if is_kept else "deleted")
    assert ("no MLflow run of this command is kept" in finished.stdout) is not is_kept


def test_plain_dino_needs_no_landmarks(kedro, tmp_path):
    """From cataloging to the report."""
    pipelines = "--pipelines=cataloging,pretrain,adapt,evaluate,report"
    finished = kedro(tmp_path, "run", "--env", "smoke", pipelines, "--params", "pretrain.methods=[grid]")
    assert finished.returncode == 0, finished.stderr[-3000:]
    folder = tmp_path / "06_models/face_models"
    families = {path.stem: type(load_model(path)) for path in folder.iterdir()}
    assert families == {"scratch": FViT, "grid": FViT}
    table = pd.read_csv(tmp_path / "08_reporting/benchmarks.csv")
    assert table["model"].unique().tolist() == ["scratch", "grid", "scratch_frozen", "grid_frozen"]
    assert not list(tmp_path.rglob("landmark*"))
    refused = kedro(tmp_path, "run", "--env", "smoke", "--pipelines=pretrain")
    assert "landmark_network, landmarks are not there yet" in refused.stderr


def test_a_face_model_names_its_backbone(smoke, mlflow_run, kedro, tmp_path):
    _, run = mlflow_run
    models = {
        name: load_model(smoke / f"06_models/{name}.safetensors")
        for name in ("backbones/lafs", "face_models/lafs", "face_models/stage1", "landmark_network")
    }
    origins = {name: model.provenance for name, model in models.items()}
    assert {origin.run for origin in origins.values()} == {run.info.run_id}
    assert origins["face_models/lafs"].start == model_digest(models["backbones/lafs"])
    assert origins["landmark_network"] == origins["face_models/stage1"]
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv").set_index("model")
    for model in ("stage1", "lafs"):
        own = table.loc[model, ["training_digest", "start_digest", "mlflow_run"]].drop_duplicates()
        assert own.to_numpy().tolist() == [list(astuple(origins[f"face_models/{model}"]))]
    data = shutil.copytree(smoke, tmp_path / "data")
    (first,) = (data / "06_models/checkpoints/pretrain_lafs").iterdir()
    assert first.name == origins["backbones/lafs"].training[:12]
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.name != ".lock"}
    other = kedro(data, "run", "--env", "smoke", "--pipelines=pretrain", "--params", "seed=1")
    assert other.returncode == 0, other.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.name != ".lock"} == before
    assert len(list(first.parent.iterdir())) == 2
    evaluated = kedro(data, "run", "--env", "smoke", "--pipelines=evaluate", COLUMNS="400")
    assert evaluated.returncode == 0, evaluated.stderr[-3000:]
    assert "that is not backbones/lafs as it is now" in evaluated.stdout
