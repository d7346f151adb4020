"""Embeddings are made once, by one process or two, and read by memory map."""

import multiprocessing
import os
import subprocess
import threading

import numpy as np
import pytest
import torch
from tests.training.small_trainings import draw_faces
from torch import nn

from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.runtime.errors import LafsError, Stopped
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.views.normalize import to_input

ALONE = LaunchSettings(processes=1)
SIZES = {
    "num_landmarks": 49,
    "patch_size": 16,
    "depth": 1,
    "dim": 32,
    "heads": 2,
    "head_dim": 16,
    "mlp_dim": 32,
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=5, images=5)


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("part_fvit_tiny_patch8_112", SIZES | {"landmark_width": 0.25}).eval()


def options(**changes) -> EvaluateSettings:
    return EvaluateSettings(**{"workers": 0, "batch_size": 4} | changes)


def embed(model, faces, folder, **changes):
    store = EmbeddingStore(folder)
    return store.embed(model, model_digest(model), {"b": faces}, options(**changes), ALONE)["b"]


class Refuses(nn.Module):
    """Whatever is already there need not be computed."""

    def forward(self, images):
        raise AssertionError("embedded again")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_rows_belong_to_their_keys(tmp_path, faces, flip, precision):
    shuffled = faces.sample(frac=1, random_state=0)
    model = small_model()
    found = embed(model, shuffled, tmp_path, flip=flip, precision=precision)
    assert found.vectors.dtype == precision
    assert isinstance(found.vectors, np.memmap)
    images = to_input(torch.from_numpy(np.stack([FaceImages(shuffled)[i] for i in (3, 0, 17)])))
    with torch.inference_mode():
        expected = model(images) + model(images.flip(-1)) if flip else model(images)
    own = found.vectors[found.rows[shuffled["key"].iloc[[3, 0, 17]]]]
    np.testing.assert_allclose(own, expected.numpy(), atol=1e-5 if precision == "float32" else 5e-3)


def test_arithmetic_of_less_precision_is_near_and_ends_with_the_extraction(tmp_path, faces):
    model = small_model()
    full, half = (embed(model, faces, tmp_path, arithmetic=one).vectors for one in ("float32", "bf16"))
    assert not np.array_equal(full, half)
    # bf16 keeps 8 bits: a product is off by up to 0.4 %.
    np.testing.assert_allclose(half, full, atol=0.02 * np.abs(full).max())
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.is_autocast_enabled("cpu")


def test_what_is_there_is_read_and_not_made(tmp_path, faces):
    model = small_model()
    digest, store = model_digest(model), EmbeddingStore(tmp_path)
    first = embed(model, faces, tmp_path)
    (file,) = tmp_path.rglob("*.npy")
    again = store.embed(Refuses(), digest, {"b": faces[::-1]}, options(), ALONE)["b"]
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert digest[:32] in str(file)
    assert first.fingerprint in file.name
    for change in ({"flip": False}, {"precision": "float16"}, {"arithmetic": "bf16"}):
        with pytest.raises(AssertionError, match="embedded again"):
            store.embed(Refuses(), digest, {"b": faces}, options(**change), ALONE)
    with pytest.raises(AssertionError, match="embedded again"):
        store.embed(Refuses(), digest, {"b": faces[1:]}, options(), ALONE)
    with pytest.raises(AssertionError, match="embedded again"):
        store.embed(Refuses(), model_digest(small_model(1)), {"b": faces}, options(), ALONE)
    assert list(tmp_path.rglob("*.npy")) == [file]


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_file_is_made_anew(tmp_path, faces, damage):
    model = small_model()
    first = np.array(embed(model, faces, tmp_path).vectors)
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(embed(model, faces, tmp_path).vectors, first)


def test_two_processes_write_the_same_file(tmp_path, faces):
    model = small_model()
    tables = {"all": faces, "one": faces[:1], "some": faces[3:10]}
    alone, together = (
        EmbeddingStore(tmp_path / str(count)).embed(
            model, model_digest(model), tables, options(), LaunchSettings(processes=count)
        )
        for count in (1, 2)
    )
    for name, found in alone.items():
        np.testing.assert_allclose(together[name].vectors, found.vectors, atol=1e-5)
    assert len(list((tmp_path / "2").rglob("*"))) == 4


class InterruptsItself(nn.Module):
    """Asks this process and those that load for it to stop, at its third batch, as a job manager does."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 3:
            job = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            subprocess.run(["kill", *map(str, job)], check=True)
            threading.Event().wait(0.2)
        return images.flatten(1)[:, :4]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_stops_and_leaves_nothing_half_written(tmp_path, faces, workers):
    model = InterruptsItself()
    with pytest.raises(Stopped, match="SIGTERM"):
        embed(model, faces, tmp_path, flip=False, workers=workers)
    assert model.calls == 3
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_image_that_cannot_be_read(tmp_path, faces):
    with pytest.raises(LafsError, match="drawn/000000/00000"):
        embed(small_model(), faces.assign(offset=7), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written(tmp_path, faces):
    (tmp_path / "file").write_text("")
    with pytest.raises(LafsError, match="cannot be written"):
        embed(small_model(), faces, tmp_path / "file")


def test_digests_tell_weights_names_and_sizes_apart():
    model = small_model()
    assert model_digest(model) == model_digest(small_model())
    others = [small_model(1), build_model("part_fvit_tiny_patch8_112", SIZES | {"landmark_width": 0.5})]
    other_heads = small_model()
    other_heads.sizes = other_heads.sizes | {"heads": 1, "head_dim": 32}
    halved = small_model().half()
    digests = {model_digest(other) for other in (model, *others, other_heads, halved)}
    assert len(digests) == 5
    assert all(len(digest) == 64 for digest in digests)
