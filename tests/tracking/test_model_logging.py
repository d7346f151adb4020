"""The face model as a model of MLflow."""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tests.models.trained import as_trained
from tests.servers import free_port, serving

from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.sources.synthetic.faces import draw_face
from lafs_pipeline.tracking.model_logging import log_model

NAME = "faces"
SIZES = {
    "num_landmarks": 9,
    "patch_size": 16,
    "dim": 24,
    "depth": 2,
    "heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
}


@pytest.fixture(scope="module")
def faces():
    return np.stack([draw_face(1, identity, 0).image for identity in range(5)])


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A network, and the store in which it is registered; the process tracks elsewhere afterwards."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(1)
    network = as_trained(PartFViT(**SIZES, landmark_width=0.25)).eval()
    save_model(network, folder / "lafs.safetensors")
    database, before = f"sqlite:///{folder}/mlflow.db", mlflow.get_tracking_uri()
    MlflowClient(database).create_experiment("faces", (folder / "files").as_uri())
    mlflow.set_tracking_uri(database)
    try:
        mlflow.set_experiment("faces")
        with mlflow.start_run() as run:
            log_model(folder / "lafs.safetensors", NAME)
        yield network, database, run.info.run_id
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.tracking.fluent._active_experiment_id = None


def expected(network, faces):
    """By the formula: f(x) + f(mirror of x), over its length."""
    with torch.no_grad():
        images = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1
        embeddings = (network(images) + network(torch.flip(images, [3]))).numpy()
    return embeddings / np.sqrt((embeddings**2).sum(axis=1, keepdims=True))


def test_the_registered_model_embeds_faces(logged, faces):
    network, _, run_id = logged
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    found = model.predict(faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(network, faces), atol=1e-6)
    np.testing.assert_allclose(model.predict(faces[:1]), found[:1], atol=1e-6)
    (output,) = mlflow.get_run(run_id).outputs.model_outputs
    assert mlflow.get_logged_model(output.model_id).name == "face_model_lafs"


def test_what_is_no_aligned_face_is_refused(logged, faces):
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    for wrong in (faces[:, :100], faces[0], faces.astype(np.float32) / 255):
        with pytest.raises(MlflowException):
            model.predict(wrong)


def test_signature_and_example_fit(logged):
    info = mlflow.models.get_model_info(f"models:/{NAME}/1")
    (images,), (embeddings,) = info.signature.inputs.inputs, info.signature.outputs.inputs
    assert (images.type, images.shape) == (np.dtype(np.uint8), (-1, 112, 112, 3))
    assert (embeddings.type, embeddings.shape) == (np.dtype(np.float32), (-1, SIZES["dim"]))
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    example = model.input_example
    assert example.shape == (1, 112, 112, 3)
    assert model.predict(example).shape == (1, SIZES["dim"])


def test_nothing_of_it_is_a_pickle(logged, tmp_path):
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", dst_path=str(tmp_path)))
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".safetensors" in kinds
    assert not kinds & {".pkl", ".pickle", ".pt", ".pth", ".bin"}


@pytest.fixture
def served(logged, tmp_path):
    """The address of a real `mlflow models serve`."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager=local", "--workers=1"]
    command += ["--host=127.0.0.1", f"--port={port}", f"--model-uri=models:/{NAME}/1"]
    variables = {
        "MLFLOW_TRACKING_URI": logged[1],
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }
    with serving(command, port, "/ping", tmp_path, **variables) as address:
        yield address


def ask(address, request):
    headers = {"Content-Type": "application/json"}
    body = json.dumps(request).encode()
    request = urllib.request.Request(f"{address}/invocations", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_mlflow_models_serve_answers_with_embeddings(served, logged, faces):
    answer = ask(served, {"inputs": faces[:2].tolist()})
    found = np.array(answer["predictions"], np.float32)
    np.testing.assert_allclose(found, expected(logged[0], faces[:2]), atol=1e-5)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(served, {"inputs": faces[:1, :50].tolist()})
