"""The authors' checkpoints give the authors' numbers."""

import pickle

import numpy as np
import pytest
import torch

from lafs_pipeline.interop.official import (
    load_part_fvit,
    load_ssl_backbone,
    load_ssl_head,
    save_part_fvit,
)
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.models.patches import sample_patches
from lafs_pipeline.runtime.errors import LafsError


@pytest.fixture(scope="module")
def forward(parity_dir):
    return {
        name: torch.from_numpy(value) for name, value in np.load(parity_dir / "part_fvit_forward.npz").items()
    }


@torch.no_grad()
def test_supervised_checkpoint(parity_dir, forward):
    model = load_part_fvit(parity_dir / "part_fvit_supervised.pth")
    landmarks = model.landmarks(forward["images"])
    assert (landmarks - forward["landmarks"]).abs().max() < 0.02
    assert (model(forward["images"]) - forward["embeddings"]).abs().max() < 2e-3


def test_patches(parity_dir):
    stored = {name: torch.from_numpy(value) for name, value in np.load(parity_dir / "patches.npz").items()}
    tokens = sample_patches(stored["images"], stored["landmarks"])
    assert (tokens - stored["tokens"]).abs().max() < 1e-5


@torch.no_grad()
def test_pretraining_checkpoint(parity_dir):
    path = parity_dir / "lafs_ssl.pth"
    stored = {
        name: torch.from_numpy(value) for name, value in np.load(parity_dir / "lafs_ssl_forward.npz").items()
    }
    teacher, head = load_ssl_backbone(path), load_ssl_head(path)
    embeddings = teacher(stored["tokens"])
    assert (embeddings - stored["teacher_embeddings"]).abs().max() < 2e-3
    assert (head(embeddings) - stored["teacher_logits"]).abs().max() < 2e-3

    student, head = load_ssl_backbone(path, "student"), load_ssl_head(path, "student")
    whole, local = student(stored["tokens"]), student(stored["tokens_local"])
    assert (whole - stored["student_embeddings"]).abs().max() < 2e-3
    assert (local - stored["student_embeddings_local"]).abs().max() < 2e-3
    assert (head(torch.cat((whole, local))) - stored["student_logits"]).abs().max() < 2e-3


def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps({"module.pos_embedding": Hostile()}))
    with pytest.raises(LafsError, match=r"hostile\.pth"):
        load_part_fvit(path)
    torch.save({"module.pos_embedding": Hostile()}, path)
    with pytest.raises(LafsError, match=r"hostile\.pth"):
        load_part_fvit(path)
    assert not (tmp_path / "ran").exists()


def test_foreign_names_are_named(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(LafsError, match=r"resnet\.pth.*conv1\.weight"):
        load_part_fvit(tmp_path / "resnet.pth")
    with pytest.raises(LafsError, match=r"has no 'teacher'"):
        load_ssl_backbone(tmp_path / "resnet.pth")
    with pytest.raises(LafsError, match="does not exist"):
        load_part_fvit(tmp_path / "missing.pth")


def test_what_is_written_reads_back_bit_for_bit(tmp_path):
    sizes = {"num_landmarks": 49, "patch_size": 16, "dim": 48, "depth": 12, "heads": 2, "mlp_dim": 64}
    model = build_model("part_fvit_tiny_patch8_112", sizes)
    save_part_fvit(model, tmp_path / "model.pth")
    again = load_part_fvit(tmp_path / "model.pth")
    assert again.sizes == model.sizes
    for (name, own), (_, read) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert own.dtype == read.dtype
        assert torch.equal(own, read), name


def test_written_names_are_those_of_the_authors(parity_dir, tmp_path):
    """A checkpoint of theirs, read and written, is the checkpoint without prefix and class matrix."""
    given = torch.load(parity_dir / "part_fvit_supervised.pth", weights_only=True)
    given = {name.removeprefix("module."): value for name, value in given.items()}
    assert given.pop("loss.weight").shape == (10, 64)
    save_part_fvit(load_part_fvit(parity_dir / "part_fvit_supervised.pth"), tmp_path / "model.pth")
    written = torch.load(tmp_path / "model.pth", weights_only=True)
    assert set(written) == set(given)
    assert all(torch.equal(written[name], given[name]) for name in given)


@pytest.mark.parametrize(
    ("name", "sizes", "reason"),
    [
        ("part_fvit_tiny_patch8_112", {"head_dim": 32}, "head_dim 32"),
        ("part_fvit_tiny_patch8_112", {"landmark_width": 0.25}, "landmark_width 0.25"),
        ("fvit_tiny_patch8_112", {}, "FViT"),
    ],
)
def test_models_that_the_layout_cannot_tell_are_refused(tmp_path, name, sizes, reason):
    with pytest.raises(LafsError, match=reason):
        save_part_fvit(build_model(name, {"depth": 1, **sizes}), tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())
