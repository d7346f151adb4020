"""What one whole run leaves in MLflow."""

import importlib.metadata
import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.interop.model_files import load_model
from lafs_pipeline.models.embedding import unit_embeddings


def test_the_run_is_tracked(smoke, mlflow_run):
    client, run = mlflow_run
    assert run.info.run_name == "all synthetic grid+lafs 96x2 4-shot"
    labels = {name: run.data.tags[name] for name in ("pipeline", "dataset", "method", "model", "shots")}
    assert list(labels.values()) == run.info.run_name.removesuffix("-shot").split()
    assert run.data.params["pretrain.training.epochs"] == "1"
    assert run.data.params["model.sizes.depth"] == "2"
    assert run.data.tags["seed"] == "0"
    assert run.data.tags["version.torch"] == importlib.metadata.version("torch")
    assert len(run.data.tags["mlflow.source.git.commit"]) >= 40
    card = json.loads((smoke / "08_reporting/dataset_card.json").read_text())
    inputs = {item.tags[0].value: item.dataset for item in run.inputs.dataset_inputs}
    digests = {context: data.digest for context, data in inputs.items()}
    adapted = fingerprint(pd.read_parquet(smoke / "05_model_input/adapt_faces.parquet"))
    table = pd.read_csv(smoke / "08_reporting/benchmarks.csv")
    row = table.iloc[0]
    benchmark = row["data_fingerprint"]
    assert digests == {"faces": card["fingerprint"], "adaptation": adapted, "benchmark": benchmark}
    assert inputs["benchmark"].name == row["benchmark"]
    logged = run.data.metrics[f"{row['metric']}/{row['benchmark']}/{row['model']}"]
    assert logged == pytest.approx(row["value"])
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"benchmarks.csv", "roc.png", "report.html", "landmark_network.safetensors"} <= artifacts
    models = {
        folder: {item.path for item in client.list_artifacts(run.info.run_id, folder)}
        for folder in ("backbones", "face_models")
    }
    assert models == {
        "backbones": {f"backbones/{name}.safetensors" for name in ("scratch", "grid", "lafs")},
        "face_models": {f"face_models/{name}.safetensors" for name in ("stage1", "scratch", "grid", "lafs")},
    }


def test_the_model_is_registered_and_embeds_as_its_file_does(smoke, mlflow_run, faces, monkeypatch):
    client, run = mlflow_run
    database = f"sqlite:///{smoke}/mlflow.db"
    version = client.get_model_version("lafs_face_model", "1")
    assert version.run_id == run.info.run_id
    assert len(run.outputs.model_outputs) == 1
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", database)
    images = np.stack([FaceImages(faces)[index] for index in range(3)])
    found = mlflow.pyfunc.load_model("models:/lafs_face_model/1").predict(images)
    network = load_model(smoke / "06_models/face_models/lafs.safetensors")
    np.testing.assert_array_equal(found, unit_embeddings(network, torch.from_numpy(images)))


@pytest.mark.parametrize(
    ("picture", "images_seen"),
    [
        ("stage1~landmarks", (128, 256)),
        ("pretrain_grid~views", (128,)),
        ("pretrain_lafs~views", (128,)),
        ("adapt_lafs~landmarks", (64, 128)),
    ],
)
def test_every_probe_leaves_a_picture(mlflow_run, picture, images_seen):
    client, run = mlflow_run
    found = [item.path.split("/")[1].split("+") for item in client.list_artifacts(run.info.run_id, "images")]
    assert sorted({int(step) for name, _, step, *_ in found if name == picture}) == list(images_seen)


def test_the_load_of_the_machine_is_tracked(mlflow_run):
    _, run = mlflow_run
    assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100


@pytest.mark.parametrize(
    ("stage", "metrics"),
    [
        ("stage1", ["loss", "learning_rate", "images_per_second", "loader_share", "knn_accuracy"]),
        ("pretrain_lafs", ["loss", "learning_rate", "teacher_temperature", "teacher_entropy"]),
        ("pretrain_grid", ["loss", "teacher_entropy", "embedding_std"]),
        ("adapt_lafs", ["loss", "landmark_distance", "knn_accuracy"]),
        ("adapt_scratch", ["loss", "landmark_distance", "knn_accuracy"]),
    ],
)
def test_curves_reach_mlflow_as_they_reach_the_metrics_file(smoke, mlflow_run, stage, metrics):
    client, run = mlflow_run
    (path,) = (smoke / f"06_models/checkpoints/{stage}").glob("*/metrics.jsonl")
    lines = path.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for metric in metrics:
        written = [(record["images_seen"], record[metric]) for record in records if metric in record]
        history = client.get_metric_history(run.info.run_id, f"{stage}/{metric}")
        assert written
        assert sorted((item.step, item.value) for item in history) == sorted(written)
