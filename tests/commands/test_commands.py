"""`lafs embed` and `lafs compare`, as a user types them."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.interop.model_card import describe_model
from lafs_pipeline.interop.model_export import ModelExport, write_export
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.interop.onnx_export import export_onnx
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.sources.synthetic.faces import draw_face

SIZES = {"depth": 1, "dim": 40, "heads": 2, "mlp_dim": 48, "num_landmarks": 16, "patch_size": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An exported model without scores, and its files in other formats."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    model = build_model("part_fvit_tiny_patch8_112", SIZES).eval()
    card = describe_model(model, model_digest(model), {})
    write_export(ModelExport(model, card, ("official",)), folder / "exported")
    return folder


@pytest.fixture
def images(tmp_path):
    """Five faces of two people in folders, an image that is cut short and one that is not square."""
    folder = tmp_path / "images"
    for person, count in ((0, 3), (1, 2)):
        (folder / f"person {person}").mkdir(parents=True)
        for number in range(count):
            face = encode_jpeg(draw_face(0, person, number).image)
            (folder / f"person {person}" / f"{number}.jpg").write_bytes(face)
    (folder / "broken.jpg").write_bytes(face[:400])
    (folder / "wide.png").write_bytes(encode_jpeg(np.zeros((60, 90, 3), np.uint8)))
    (folder / "notes.txt").write_text("no image")
    return folder


@torch.inference_mode()
def expected_embeddings(folder, keys, model_path):
    model = load_model(model_path)
    pixels = np.stack([decode_image((folder / key).read_bytes()) for key in keys])
    faces = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    return F.normalize(model(faces) + model(faces.flip(-1)), dim=1).numpy()


def test_embed(models, images, tmp_path, capsys):
    out = tmp_path / "out" / "faces.parquet"
    assert main(["embed", str(images), "--model", str(models / "exported"), "--out", str(out)]) == 0
    table = pd.read_parquet(out)
    keys = [f"person 0/{n}.jpg" for n in range(3)] + [f"person 1/{n}.jpg" for n in range(2)]
    assert table["key"].tolist() == keys
    found = np.stack(table["embedding"])
    assert found.dtype == np.float32
    weights = models / "exported/model.safetensors"
    np.testing.assert_allclose(found, expected_embeddings(images, keys, weights), atol=1e-5)
    assert pq.read_schema(out).metadata[b"model_digest"].decode() == model_digest(load_model(weights))
    said = capsys.readouterr()
    assert f"5 faces embedded, 40 numbers each, of length 1: {out}" in said.out
    assert "left out: broken.jpg: its image data" in said.err
    assert "left out: wide.png: it is 90 x 60 pixels" in said.err
    assert "2 images could not be used" in said.err


@pytest.mark.slow
def test_every_format_embeds_alike(models, images, tmp_path):
    tables = []
    export_onnx(load_model(models / "exported/model.safetensors"), models / "exported/model.onnx")
    for name in ("model.safetensors", "model.onnx", "official.pth"):
        out = tmp_path / f"{name}.parquet"
        assert (
            main(["embed", str(images), "--model", str(models / "exported" / name), "--out", str(out)]) == 0
        )
        tables.append(pd.read_parquet(out))
    for table in tables[1:]:
        assert table["key"].tolist() == tables[0]["key"].tolist()
        np.testing.assert_allclose(np.stack(table["embedding"]), np.stack(tables[0]["embedding"]), atol=1e-5)


def test_nothing_usable_leaves_no_file(models, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"no image")
    out = tmp_path / "faces.parquet"
    arguments = ["embed", str(tmp_path / "images"), "--model", str(models / "exported"), "--out", str(out)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "left out: a.jpg" in said
    assert "Error: none of the 1 images" in said
    assert "--detector" in said
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_compare(models, images, capsys):
    faces = [images / "person 0/0.jpg", images / "person 1/1.jpg"]
    weights = models / "exported/model.safetensors"
    first, second = expected_embeddings(images, ["person 0/0.jpg", "person 1/1.jpg"], weights)
    assert main(["compare", *map(str, faces), "--model", str(models / "exported")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("cosine similarity ")
    assert float(said[0].split()[-1]) == pytest.approx(first @ second, abs=1e-4)
    assert said[1].startswith("No threshold is known for this model")


@pytest.mark.parametrize(("distance", "people"), [(-1e-4, "the same person"), (1e-4, "different people")])
def test_compare_with_the_threshold_of_the_card(models, images, tmp_path, capsys, distance, people):
    names = ["person 0/0.jpg", "person 1/1.jpg"]
    first, second = expected_embeddings(images, names, models / "exported/model.safetensors")
    threshold = float(first @ second) + distance
    model = load_model(models / "exported/model.safetensors")
    score = {
        **{"benchmark": "lfw", "metrics": {"accuracy": {"value": 0.9951, "low": None, "high": None}}},
        **{"threshold": threshold, "flip": True, "pairs": 6000},
    }
    card = describe_model(model, model_digest(model), {}) | {"scores": [score]}
    write_export(ModelExport(model, card, ()), tmp_path / "scored")
    command = ["compare", *(str(images / name) for name in names)]
    command += ["--model", str(tmp_path / "scored/model.safetensors")]
    capsys.readouterr()  # a log that an earlier test set up may have told of the export
    assert main(command) == 0
    verdict = capsys.readouterr().out.splitlines()[1]
    assert verdict.startswith(
        f"The model takes them for {people}: its threshold is {threshold:.4f} (99.5% of"
    )

    save_model(build_model("part_fvit_tiny_patch8_112", SIZES), tmp_path / "scored/model.safetensors")
    assert main(command) == 0
    assert "No threshold is known" in capsys.readouterr().out


def test_what_is_wrong_is_named(models, images, tmp_path, capsys):
    save_model(
        load_model(models / "exported/model.safetensors").landmark_network, tmp_path / "net.safetensors"
    )
    face, model = str(images / "person 0/0.jpg"), str(models / "exported")
    cases = [
        (["embed", str(tmp_path / "absent"), "--model", model], "Image folder .*absent does not exist"),
        (["embed", str(images), "--model", str(tmp_path / "absent.onnx")], "absent.onnx does not exist"),
        (["embed", str(images), "--model", face], "is no model"),
        (["embed", str(images), "--model", str(tmp_path / "net.safetensors")], "landmark network"),
        (["compare", face, str(images / "absent.jpg"), "--model", model], "absent.jpg cannot be used"),
        (["compare", face, str(images / "wide.png"), "--model", model], "a photograph needs --detector"),
        (
            ["compare", face, face, "--model", model, "--detector", "absent.onnx"],
            r"detector model \S*absent\.onnx",
        ),
    ]
    for arguments, message in cases:
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("Error: ")
        assert re.search(message, said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["embed"], "required"),
        (["embed", "images", "--model", "m.safetensors", "--out", "faces.csv"], "does not end with .parquet"),
        (["compare", "a.jpg", "--model", "m.safetensors"], "required: B"),
        (
            ["embed", "images", "--model", "m.safetensors", "--out", "s3://b/e.parquet"],
            "must be a local path",
        ),
        (["train"], "invalid choice"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_in_a_process_of_its_own(images, tmp_path):
    """One message, no traceback; help without torch."""
    command = [sys.executable, "-X", "importtime", "-m", "lafs_pipeline.commands"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert "embed" in shown.stdout
    assert " torch" not in shown.stderr
    arguments = ["embed", str(images), "--model", str(tmp_path / "absent.safetensors")]
    failed = subprocess.run(
        [sys.executable, "-m", "lafs_pipeline.commands", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert failed.returncode == 1
    assert failed.stderr == f"Error: model file {tmp_path}/absent.safetensors does not exist\n"


def test_photographs_are_aligned_as_the_pipeline_aligns_them(models, shared_dir, tmp_path):
    """LFW's untouched originals give what their faces give that were aligned by YuNet elsewhere."""
    names = sorted(path.name for path in (shared_dir / "faces/lfw/original250_folds1-2").iterdir())[:8]
    for kind in ("original250_folds1-2", "aligned112"):
        for name in names:
            (tmp_path / kind).mkdir(exist_ok=True)
            for image in (shared_dir / "faces/lfw/original250_folds1-2" / name).iterdir():
                found = shared_dir / "faces/lfw" / kind / name / image.name
                (tmp_path / kind / image.name).symlink_to(found)
    detector = ["--detector", str(shared_dir / "models/yunet_n_320_320.onnx")]
    tables = []
    for kind, options in (("original250_folds1-2", detector), ("aligned112", [])):
        out = tmp_path / f"{kind}.parquet"
        model = str(models / "exported")
        assert main(["embed", str(tmp_path / kind), "--model", model, "--out", str(out), *options]) == 0
        tables.append(pd.read_parquet(out))
    own, given = tables
    assert own["key"].tolist() == given["key"].tolist()
    cosines = np.stack(own["embedding"]) @ np.stack(given["embedding"]).T
    assert len(cosines) >= 8
    np.testing.assert_array_equal(cosines.argmax(axis=1), np.arange(len(cosines)))
