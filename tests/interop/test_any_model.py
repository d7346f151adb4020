"""Models of every kind behind one input: each gives what its own code gives, or says what it lacks."""

import logging
import pickle

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tests.interop.timm_folder import write_timm_folder

from lafs_pipeline.interop.any_model import open_any
from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.interop.official import load_ssl_backbone
from lafs_pipeline.interop.onnx_model import OnnxModel
from lafs_pipeline.models.choice import ModelChoice
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.models.preprocessing import preprocessing_of
from lafs_pipeline.runtime.errors import LafsError

IMAGES = torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
SIZES = {"depth": 1, "dim": 40, "heads": 2, "mlp_dim": 48, "num_landmarks": 16, "patch_size": 16}
MATRIX = np.random.default_rng(0).normal(size=(3 * 4 * 4, 8)).astype(np.float32)
"""Of the models written here: images are pooled to 4 x 4 and multiplied by it."""


def write_onnx(path, batch="N", side=112, nhwc=False, outputs=("embedding",), unit=False):
    """A graph that embeds images by pooling and `MATRIX`; further outputs are `norm` (N, 1) or a copy."""
    shape = [batch, side, side, 3] if nhwc else [batch, 3, side, side]
    nodes, taken = [], "images"
    if nhwc:
        nodes.append(helper.make_node("Transpose", ["images"], ["nchw"], perm=[0, 3, 1, 2]))
        taken = "nchw"
    step = (side if isinstance(side, int) else 112) // 4
    nodes += [
        helper.make_node("AveragePool", [taken], ["pooled"], kernel_shape=[step] * 2, strides=[step] * 2),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["raw" if unit else "embedding"]),
    ]
    if unit:
        nodes.append(helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1))
    if "norm" in outputs:
        nodes.append(helper.make_node("ReduceL2", ["embedding", "axes"], ["norm"], keepdims=1))
    if "copy" in outputs:
        nodes.append(helper.make_node("Identity", ["embedding"], ["copy"]))
    widths = {"embedding": 8, "norm": 1, "copy": 8}
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, widths[n]]) for n in outputs],
        [
            onnx.numpy_helper.from_array(MATRIX, "matrix"),
            onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def expected(images):
    pooled = images.unflatten(3, (4, -1)).mean(4).unflatten(2, (4, -1)).mean(3)
    return pooled.flatten(1).numpy() @ MATRIX


@torch.inference_mode()
def embedded(choice, images=IMAGES):
    return open_any(choice)(images).numpy()


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"batch": 1},
        {"batch": 2},
        {"nhwc": True},
        {"nhwc": True, "batch": 1},
        {"outputs": ("norm", "embedding")},
        {"side": "H"},
    ],
    ids=str,
)
def test_onnx_of_every_layout(tmp_path, form):
    path = write_onnx(tmp_path / "model.onnx", **form)
    np.testing.assert_allclose(embedded(ModelChoice(path=str(path))), expected(IMAGES), atol=1e-5)


def test_onnx_is_fed_as_it_is_stated(tmp_path):
    path = write_onnx(tmp_path / "model.onnx", side=56)
    choice = ModelChoice(path=str(path), mean=(0.1, 0.2, 0.3), std=1.0, channels="bgr")
    flat = torch.ones(2, 3, 112, 112) * torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1)
    fed = torch.tensor([1.0 - 0.1, 0.5 - 0.2, 0.0 - 0.3]).view(1, 3, 1, 1).expand(2, 3, 56, 56)
    np.testing.assert_allclose(embedded(choice, flat), expected(fed), atol=1e-4)
    assert preprocessing_of(open_any(choice)) == "56 px bgr, mean 0.1 0.2 0.3, std 1"


def test_what_is_assumed_is_said_and_recorded(tmp_path, caplog):
    path = write_onnx(tmp_path / "model.onnx", unit=True)
    with caplog.at_level(logging.WARNING):
        model = open_any(ModelChoice(path=str(path), template="FFHQ"))
    assert "does not tell how it was trained and gets 112 px rgb, mean 0.5, std 0.5" in caplog.text
    said = "112 px rgb, mean 0.5, std 0.5 (assumed), embeddings of length 1, trained on FFHQ"
    assert model.preprocessing == said


def test_the_digest_tells_the_file_and_what_it_is_fed(tmp_path):
    paths = [write_onnx(tmp_path / "a.onnx"), write_onnx(tmp_path / "b.onnx", unit=True)]
    choices = [ModelChoice(path=str(path), std=std) for path in paths for std in (0.5, 1.0)]
    assert len({model_digest(open_any(choice)) for choice in choices}) == 4
    assert model_digest(open_any(choices[0])) == model_digest(open_any(choices[0]))


def test_onnx_travels_to_other_processes(tmp_path):
    model = open_any(ModelChoice(path=str(write_onnx(tmp_path / "model.onnx"))))
    copy = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(copy(IMAGES), model(IMAGES))


def test_onnx_that_cannot_be_used(tmp_path):
    def refused(**form):
        return pytest.raises(LafsError, **form)

    two = write_onnx(tmp_path / "two.onnx", outputs=("embedding", "copy"))
    with refused(match=r"two\.onnx gives embedding \(2, 8\), copy \(2, 8\) .* as `output`"):
        open_any(ModelChoice(path=str(two)))
    np.testing.assert_allclose(
        embedded(ModelChoice(path=str(two), output="copy")), expected(IMAGES), atol=1e-5
    )
    with refused(match=r"has no output 'features'; it has embedding, copy"):
        open_any(ModelChoice(path=str(two), output="features"))
    with refused(match="takes images of 112 pixels, and image_size is 224"):
        open_any(ModelChoice(path=str(two), image_size=224))
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(two.read_bytes()[:700])
    with refused(match=r"torn\.onnx is no ONNX model that onnxruntime can run"):
        open_any(ModelChoice(path=str(torn)))
    with refused(match=r"absent\.onnx does not exist"):
        open_any(ModelChoice(path=str(tmp_path / "absent.onnx")))
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", 7])
    node = helper.make_node("Identity", ["tokens"], ["same"])
    out = helper.make_tensor_value_info("same", TensorProto.INT64, ["N", 7])
    text = helper.make_model(
        helper.make_graph([node], "t", [tokens], [out]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(text, tmp_path / "text.onnx")
    with refused(match=r"text\.onnx takes tokens tensor\(int64\) .* one input of images"):
        open_any(ModelChoice(path=str(tmp_path / "text.onnx")))


def test_without_onnxruntime_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LafsError, match=r"onnxruntime, which is not installed: install .* extra `onnx`"):
        OnnxModel(tmp_path / "model.onnx")


def test_models_of_ours_and_of_timm_are_what_they_are(tmp_path):
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    save_model(model, tmp_path / "own.safetensors")
    choice = ModelChoice(path=str(tmp_path / "own.safetensors"))
    assert model_digest(open_any(choice)) == model_digest(model)
    with torch.inference_mode():
        np.testing.assert_allclose(embedded(choice), model(IMAGES).numpy(), atol=1e-5)
        half = model(IMAGES / 2).numpy()
    authors = ModelChoice(path=str(tmp_path / "own.safetensors"), std=1.0)
    np.testing.assert_allclose(embedded(authors), half, atol=1e-4)
    save_model(model.landmark_network, tmp_path / "network.safetensors")
    with pytest.raises(LafsError, match="is a landmark network, which embeds no faces"):
        open_any(ModelChoice(path=str(tmp_path / "network.safetensors")))
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(LafsError, match=r"notes\.txt is no model: expected"):
        open_any(ModelChoice(path=str(tmp_path / "notes.txt")))
    with pytest.raises(LafsError, match="timm cannot make a vision transformer of 'part_vfit'"):
        open_any(ModelChoice(path="part_vfit"))


@torch.inference_mode()
def test_authors_checkpoints(parity_dir):
    known = {
        name: torch.from_numpy(value) for name, value in np.load(parity_dir / "part_fvit_forward.npz").items()
    }
    supervised, pretraining = (parity_dir / f"{n}.pth" for n in ("part_fvit_supervised", "lafs_ssl"))
    model = open_any(ModelChoice(path=str(supervised)))
    assert (model(known["images"]) - known["embeddings"]).abs().max() < 2e-3
    with pytest.raises(LafsError, match=r"lafs_ssl\.pth is a pretraining's checkpoint.* as `landmarks`"):
        open_any(ModelChoice(path=str(pretraining)))
    tokens = sample_patches(known["images"], known["landmarks"])
    for which in ("teacher", "student"):
        choice = ModelChoice(path=str(pretraining), landmarks=str(supervised), network=which)
        found = open_any(choice)(known["images"])
        assert (found - load_ssl_backbone(pretraining, which)(tokens)).abs().max() < 0.02


def test_a_timm_model_has_its_own_size_and_range(tmp_path):
    write_timm_folder(tmp_path)
    choice = ModelChoice(path=f"local-dir:{tmp_path}")
    assert preprocessing_of(open_any(choice)) == "64 px rgb, mean 0.4 0.5 0.6, std 0.2 0.3 0.4"
    stated = ModelChoice(path=f"local-dir:{tmp_path}", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    np.testing.assert_allclose(embedded(stated), embedded(choice), atol=1e-5)
