"""The ONNX graph gives PyTorch's embeddings, at every size and any batch."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import timm
import torch

from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.catalogue import BenchmarkSettings, CatalogSettings, catalog_faces
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.interop.onnx_export import OnnxModel, export_onnx, largest_difference
from lafs_pipeline.models.embedding import flip_sum, map_faces
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.runtime.errors import LafsError

SMALL = {"dim": 48, "depth": 2, "heads": 3, "head_dim": 16, "mlp_dim": 64, "patch_size": 16}
NAMES = [
    f"{family}_{size}_patch8_112" for family in ("part_fvit", "fvit") for size in ("base", "small", "tiny")
]


def differences(model, path):
    """Of embeddings by plain onnxruntime, at batches of 1 and 3."""
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 3):
        images = torch.rand(batch, 3, 112, 112) * 2 - 1
        with torch.inference_mode():
            expected = model(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        assert found.shape == expected.shape
        yield np.abs(found - expected).max()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and the file it was written to."""
    model = PartFViT(**SMALL)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path, {"model_digest": "12"})
    return model, path


def test_embeddings_are_those_of_pytorch(exported):
    model, path = exported
    assert max(differences(model, path)) < 1e-4
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_one_valid_graph(exported):
    file = onnx.load(exported[1])
    onnx.checker.check_model(file, full_check=True)
    assert {item.key: item.value for item in file.metadata_props}["model_digest"] == "12"
    assert OnnxModel(exported[1]).metadata["model_digest"] == "12"


def test_the_check_at_export_tells_other_weights(exported):
    model, path = exported
    assert largest_difference(model, OnnxModel(path)) < 1e-4
    assert largest_difference(PartFViT(**SMALL).eval(), OnnxModel(path)) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_registered_size(name, tmp_path):
    model = timm.create_model(name)
    export_onnx(model, tmp_path / "model.onnx")
    assert max(differences(model, tmp_path / "model.onnx")) < 1e-4
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]


@pytest.mark.slow
def test_real_faces_are_verified_alike(shared_dir, tmp_path):
    """LFW, all 6,000 pairs: embeddings within 1e-4, and the same ten accuracies."""
    lfw = shared_dir / "faces/lfw"
    benchmark = BenchmarkSettings(
        kind="pairs_txt", path=str(lfw / "aligned112"), pairs_file=str(lfw / "pairs.txt"), aligned=True
    )
    settings = CatalogSettings(benchmarks={"lfw": benchmark})
    found = catalog_faces(settings, 0, tmp_path / "faces.rec")
    model = timm.create_model("part_fvit_tiny_patch8_112", num_landmarks=49, patch_size=16).eval()
    export_onnx(model, tmp_path / "model.onnx")
    place = pd.Series(range(len(found.manifest)), index=found.manifest["key"])
    rows = [place.loc[found.pairs[side]].to_numpy() for side in ("key_a", "key_b")]
    faces, cpu = FaceImages(found.manifest), torch.device("cpu")
    own, exported = (
        map_faces(flip_sum(embed), faces, cpu) for embed in (model, OnnxModel(tmp_path / "model.onnx"))
    )
    assert len(own) > 7000
    assert np.abs(own - exported).max() < 2e-4  # a sum of two embeddings, each within 1e-4
    is_same, folds = found.pairs["is_same"].to_numpy(), found.pairs["fold"].to_numpy(int)
    results = [verify_pairs(*(e[side] for side in rows), is_same, folds) for e in (own, exported)]
    assert results[0].accuracy == results[1].accuracy > 0.52
    np.testing.assert_array_equal(results[0].fold_accuracy, results[1].fold_accuracy)


def test_files_that_are_no_face_model(tmp_path):
    with pytest.raises(LafsError, match="does not exist"):
        OnnxModel(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(LafsError, match=r"text\.onnx is no ONNX model"):
        OnnxModel(tmp_path / "text.onnx")
