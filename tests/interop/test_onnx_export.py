"""The ONNX graph gives PyTorch's embeddings, at every size and any batch."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import timm
import torch
from tests.models.trained import as_trained

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.interop.onnx_export import export_onnx, largest_difference
from lafs_pipeline.interop.onnx_model import OnnxModel
from lafs_pipeline.models.embedding import map_faces
from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.synthetic.faces import draw_face
from lafs_pipeline.training.jobs import RunContext, train_recognition
from lafs_pipeline.training.recipes.settings import RecognitionSettings
from lafs_pipeline.training.recipes.starts import fresh_model
from lafs_pipeline.training.settings import TrainingSettings
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import AugmentationSettings

SMALL = {"dim": 48, "depth": 2, "heads": 3, "head_dim": 16, "mlp_dim": 64, "patch_size": 16}
NAMES = [
    f"{family}_{size}_patch8_112" for family in ("part_fvit", "fvit") for size in ("base", "small", "tiny")
]


def difference(model, path, images):
    """Greatest one between embeddings by onnxruntime and by PyTorch, images alone and three at a time."""
    session = onnxruntime.InferenceSession(path)
    largest = 0
    for batch in [*images[:3].split(1), *images.split(3)]:
        with torch.inference_mode():
            expected = model(batch).numpy()
        (found,) = session.run(None, {"images": batch.numpy()})
        assert found.shape == expected.shape
        largest = max(largest, np.abs(found - expected).max())
    return largest


def drawn_faces(count):
    return to_input(torch.from_numpy(np.stack([draw_face(0, person, 0).image for person in range(count)])))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and the file it was written to."""
    model = as_trained(PartFViT(**SMALL))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path, {"model_digest": "12"})
    return model, path


def test_embeddings_are_those_of_pytorch(exported):
    model, path = exported
    assert difference(model, path, drawn_faces(6)) < 1e-4
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_one_valid_graph(exported):
    file = onnx.load(exported[1])
    onnx.checker.check_model(file, full_check=True)
    assert {item.key: item.value for item in file.metadata_props}["model_digest"] == "12"
    assert OnnxModel(exported[1]).metadata["model_digest"] == "12"


def test_the_check_at_export_tells_other_weights(exported):
    model, path = exported
    assert largest_difference(model, OnnxModel(path)) < 1e-4
    torch.manual_seed(1)
    assert largest_difference(as_trained(PartFViT(**SMALL)).eval(), OnnxModel(path)) > 0.1


@pytest.fixture(scope="module", params=NAMES)
def registered(request, tmp_path_factory):
    """A model of a registered size, and the file it was written to."""
    torch.manual_seed(0)
    model = timm.create_model(request.param)
    if isinstance(model, PartFViT):
        as_trained(model)
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    export_onnx(model, path)
    return model, path


@pytest.mark.slow
def test_every_registered_size(registered):
    model, path = registered
    assert difference(model, path, drawn_faces(6)) < 1e-4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
def test_every_registered_size_on_real_faces(registered, shared_dir, record_property):
    files = sorted((shared_dir / "faces/lfw/aligned112").rglob("*.jpg"))[::500]
    faces = to_input(torch.from_numpy(np.stack([decode_image(file.read_bytes()) for file in files])))
    found = difference(*registered, faces)
    record_property("difference", found)
    assert len(faces) > 12
    assert found < 1e-4


@pytest.mark.slow
def test_real_faces_are_verified_alike(shared_dir, tmp_path, record_property):
    """A model trained on CelebA for minutes: all 6,000 pairs of LFW, the same accuracy on every fold."""
    celeba = SourceSettings(path=str(shared_dir / "faces/celeba_299/aligned112"), aligned=True)
    lfw = shared_dir / "faces/lfw"
    benchmark = BenchmarkSettings(
        kind="pairs_txt", path=str(lfw / "aligned112"), pairs_file=str(lfw / "pairs.txt"), aligned=True
    )
    settings = CatalogSettings(sources={"celeba": celeba}, benchmarks={"lfw": benchmark})
    found = catalog_faces(settings, 0, tmp_path / "stores")
    model = briefly_trained(found.manifest[found.manifest["split"] == "train"], tmp_path)
    export_onnx(model, tmp_path / "model.onnx")
    faces = found.manifest[found.manifest["split"] == "lfw"]
    place = pd.Series(range(len(faces)), index=faces["key"])
    rows = [place.loc[found.pairs[side]].to_numpy() for side in ("key_a", "key_b")]
    images, cpu = FaceImages(faces), torch.device("cpu")
    own, exported = (map_faces(embed, images, cpu) for embed in (model, OnnxModel(tmp_path / "model.onnx")))
    assert len(own) > 7000
    assert np.abs(own - exported).max() < 1e-4
    is_same, folds = found.pairs["is_same"].to_numpy(), found.pairs["fold"].to_numpy(int)
    results = [verify_pairs(*(e[side] for side in rows), is_same, folds) for e in (own, exported)]
    record_property("difference", np.abs(own - exported).max())
    record_property("accuracy", results[0].accuracy)
    # Seven standard errors above chance: embeddings that tell something.
    assert results[0].accuracy == results[1].accuracy > 0.55
    np.testing.assert_array_equal(results[0].fold_accuracy, results[1].fold_accuracy)


def briefly_trained(faces, folder):
    sizes = {"num_landmarks": 49, "patch_size": 16, "depth": 4, "dropout": 0.0, "drop_path": 0.0}
    sizes["landmark_width"] = 0.25
    options = RecognitionSettings(
        scale=16.0,
        margin=0.1,
        augmentation=AugmentationSettings(
            randaugment_operations=0, mixup_probability=0.0, erase_probability=0.0
        ),
        training=TrainingSettings(
            epochs=2,
            batch_size=32,
            accumulation=1,
            learning_rate=1e-3,
            reference_batch=32,
            warmup_epochs=0.2,
            clip_norm=3.0,
            workers=0,
        ),
    )
    place = RunContext(folder / "training", 0, [], LaunchSettings(processes=1))
    model = fresh_model("part_fvit_tiny_patch8_112", sizes, 0)
    return train_recognition("stage1", model, faces, options, place)


def test_files_that_are_no_face_model(tmp_path):
    with pytest.raises(LafsError, match="does not exist"):
        OnnxModel(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(LafsError, match=r"text\.onnx is no ONNX model"):
        OnnxModel(tmp_path / "text.onnx")
