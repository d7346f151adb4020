"""`lafs search`, as a user types it."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.faces.decode import decode_image, encode_jpeg
from lafs_pipeline.interop.model_files import save_model
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.sources.synthetic.faces import draw_face

SIZES = {"depth": 1, "dim": 40, "heads": 2, "mlp_dim": 48, "num_landmarks": 16, "patch_size": 16}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A gallery of six people with two images each, a model, and a copy of one of the images as a probe."""
    folder = tmp_path_factory.mktemp("search")
    for person in range(6):
        (folder / f"gallery/person {person}").mkdir(parents=True)
        for number in range(2):
            path = folder / f"gallery/person {person}/{number}.jpg"
            path.write_bytes(encode_jpeg(draw_face(0, person, number).image))
    (folder / "gallery/broken.jpg").write_bytes(b"no image")
    (folder / "who.jpg").write_bytes((folder / "gallery/person 4/1.jpg").read_bytes())
    torch.manual_seed(3)
    save_model(build_model("part_fvit_tiny_patch8_112", SIZES).eval(), folder / "model.safetensors")
    return folder


def searched(faces, *arguments, probe="who.jpg", gallery="gallery"):
    return main(["search", str(faces / gallery), str(faces / probe), *arguments])


def test_who_is_this(faces, tmp_path, capsys):
    page, model = tmp_path / "answers.html", ["--model", str(faces / "model.safetensors")]
    assert searched(faces, *model, "--far", "0.1", "--top", "3", "--out", str(page)) == 0
    said = capsys.readouterr()
    assert "who.jpg: person 4 (1.0000, person 4/1.jpg)" in said.out
    assert re.search(r"12 faces searched; threshold [\d.]+: accepts 0\.1 of the gallery's pairs", said.out)
    assert "left out: broken.jpg" in said.err
    html = page.read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="([^"]+)"', html)
    assert [name for _, name in pictures[:2]] == ["who.jpg", "person 4/1.jpg"]
    assert len(pictures) == 4
    for content, name in pictures[1:]:
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)
        stored = decode_image((faces / "gallery" / name).read_bytes())
        assert np.abs(shown - stored).mean() < 5
    assert "<script" not in html


def test_an_index_answers_as_its_images(faces, tmp_path, capsys):
    model, index = ["--model", str(faces / "model.safetensors")], tmp_path / "index.parquet"
    assert main(["embed", str(faces / "gallery"), *model, "--out", str(index)]) == 0
    capsys.readouterr()
    assert searched(faces, *model, "--far", "0.1") == 0
    expected = capsys.readouterr().out
    assert main(["search", str(index), str(faces / "who.jpg"), *model, "--far", "0.1"]) == 0
    assert capsys.readouterr().out == expected
    assert (
        main(["search", str(index), str(index), "--threshold", "2", "--out", str(tmp_path / "a.html")]) == 0
    )
    said = capsys.readouterr().out
    assert said.count("nobody of the gallery") == 12
    assert "threshold 2.0000: as given" in said
    assert "<img" not in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds images, which a model embeds: give --model"),
        (["--model", "absent.onnx"], "absent.onnx does not exist"),
        (["--model", "model.safetensors"], "do not carry a false accept rate of 0.001"),
    ],
)
def test_what_cannot_be(faces, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(faces)
    assert searched(faces, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--top", "0"], ["--far", "1"], ["--far", "0.1", "--threshold", "0.5"]])
def test_arguments_that_are_wrong(faces, wrong, capsys):
    with pytest.raises(SystemExit):
        searched(faces, *wrong)
    assert "error:" in capsys.readouterr().err
