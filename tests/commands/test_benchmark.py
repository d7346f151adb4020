"""`lafs benchmark`, as a user types it."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lafs_pipeline.cataloging.export import write_pair_set
from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.interop.official import load_part_fvit
from lafs_pipeline.interop.onnx_export import export_onnx
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.protocols.pair_lists import read_lfw_pairs
from lafs_pipeline.sources.synthetic.faces import draw_face

SIZES = {"depth": 1, "dim": 40, "heads": 2, "mlp_dim": 48, "num_landmarks": 16, "patch_size": 16}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twenty pairs of drawn people as a `.bin`, and a model."""
    folder = tmp_path_factory.mktemp("drawn")
    same = [number % 2 == 0 for number in range(20)]
    people = [(n, n if is_same else n + 20) for n, is_same in enumerate(same)]
    images = [encode_jpeg(draw_face(0, p, side).image) for pair in people for side, p in enumerate(pair)]
    write_pair_set(folder / "pairs.bin", images, same)
    torch.manual_seed(3)
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    save_model(model, folder / "model.safetensors")
    return folder, images, np.array(same), model


@torch.inference_mode()
def accuracy(model, images, same, flip=True, scale=1.0):
    faces = np.stack([decode_image(image) for image in images])
    faces = (torch.from_numpy(faces).permute(0, 3, 1, 2) / 127.5 - 1) * scale
    vectors = model(faces) + model(faces.flip(-1)) if flip else model(faces)
    return verify_pairs(vectors.numpy()[::2], vectors.numpy()[1::2], same).accuracy


@pytest.mark.parametrize(
    ("stated", "how"),
    [([], {}), (["--no-flip"], {"flip": False}), (["--std", "1"], {"scale": 0.5})],
    ids=["plain", "no-flip", "std"],
)
def test_scores_are_those_of_the_model(drawn, tmp_path, capsys, stated, how):
    folder, images, same, model = drawn
    out = tmp_path / "table.csv"
    command = ["benchmark", str(folder / "model.safetensors"), "--bin", str(folder / "pairs.bin")]
    assert main([*command, "--out", str(out), *stated]) == 0
    row = pd.read_csv(out).set_index("metric").loc["accuracy"]
    assert row["value"] == pytest.approx(accuracy(model, images, same, **how))
    assert row["preprocessing"] == f"112 px rgb, mean 0.5, std {1 if how.get('scale') else 0.5}"
    assert row["flip"] == how.get("flip", True)
    assert [row["model"], row["benchmark"]] == ["model.safetensors", "pairs"]
    said = capsys.readouterr().out
    assert f"{row['value']:.2%}" in said
    assert row["model_digest"][:12] in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.safetensors"], "no benchmark is named"),
        (["absent.pth", "--bin", "pairs.bin"], "absent.pth does not exist"),
        (["model.safetensors", "--bin", "absent.bin"], "absent.bin does not exist"),
        (["model.safetensors", "--bin", "pairs.bin", "other/pairs.bin"], "have one name"),
        (["model.safetensors", "--bin", "pairs.bin", "--std", "0"], "std is 0.0; expected numbers above 0"),
    ],
)
def test_what_cannot_be(drawn, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(drawn[0])
    assert main(["benchmark", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_lfw_of_a_known_recogniser(parity_dir, shared_dir, tmp_path, capsys):
    """Its embeddings in a file, by name and by number."""
    known = np.load(parity_dir / "lfw_mobilefacenet.npz")
    names, vectors = known["names"], known["embeddings"]
    lfw = shared_dir / "faces/lfw"
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(pa.table({"key": names, "embedding": lists}), tmp_path / "faces.parquet")
    command = ["benchmark", str(tmp_path / "faces.parquet"), "--out", str(tmp_path / "table.csv")]
    assert main([*command, "--pairs", str(lfw / "aligned112"), str(lfw / "pairs.txt")]) == 0
    table = pd.read_csv(tmp_path / "table.csv").set_index("metric")
    assert table.loc["accuracy", "value"] == pytest.approx(0.99333, abs=5e-6)
    assert "99.33%" in capsys.readouterr().out


def test_authors_checkpoint_and_its_graph_score_alike(parity_dir, shared_dir, tmp_path, capsys):
    """Ten pairs of every fold of LFW."""
    lfw, checkpoint = shared_dir / "faces/lfw", parity_dir / "part_fvit_supervised.pth"
    pairs = read_lfw_pairs(lfw / "pairs.txt", ".jpg")
    pairs = pairs[pairs.groupby(["fold", "is_same"]).cumcount() < 5]
    names = pairs[["name_a", "name_b"]].to_numpy().ravel()
    images = [(lfw / "aligned112" / name).read_bytes() for name in names]
    write_pair_set(tmp_path / "lfw.bin", images, pairs["is_same"].tolist())
    export_onnx(load_part_fvit(checkpoint), tmp_path / "model.onnx")
    for path in (checkpoint, tmp_path / "model.onnx"):
        assert main(["benchmark", str(path), "--bin", str(tmp_path / "lfw.bin")]) == 0
    scores = re.findall(r"^ *lfw .*$", capsys.readouterr().out, re.MULTILINE)
    assert len(scores) == 2
    assert scores[0] == scores[1]
