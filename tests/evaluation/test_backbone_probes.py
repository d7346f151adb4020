"""Frozen embeddings are probed with the shots, on the identities' other images."""

import pandas as pd
import pytest
import torch
from tests.training.small_trainings import draw_faces
from torch import nn

from lafs_pipeline.evaluation.backbone_probes import COLUMNS, choose_probe_faces, probe_backbones
from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.subsets import select_shots
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.views.normalize import to_input

ALONE = LaunchSettings(processes=1)
OPTIONS = EvaluateSettings(workers=0)


class Knows(nn.Module):
    """Embeds an image as the number of its identity, which it looks up by the image's mean."""

    def __init__(self, faces: pd.DataFrame) -> None:
        super().__init__()
        images = FaceImages(faces)
        means = [to_input(torch.from_numpy(images[row])[None]).mean() for row in range(len(faces))]
        self.register_buffer("means", torch.stack(means))
        self.register_buffer("numbers", torch.from_numpy(pd.factorize(faces["identity"])[0]))

    def forward(self, images):
        nearest = (images.mean((1, 2, 3))[:, None] - self.means).abs().argmin(1)
        return nn.functional.one_hot(self.numbers[nearest], int(self.numbers.max()) + 1).float()


class Blind(nn.Module):
    """Embeds all images as the same but for their brightness's last bits."""

    def forward(self, images):
        return torch.cat((torch.ones(len(images), 4), 1e-3 * images.mean((1, 2, 3))[:, None]), dim=1)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> pd.DataFrame:
    return draw_faces(tmp_path_factory.mktemp("faces"), identities=7, images=6)


def test_queries_are_the_other_training_images_of_drawn_identities(faces):
    shots = select_shots(faces, 2, seed=0)
    faces = faces.assign(split=["lfw" if key.endswith("5") else "train" for key in faces["key"]])
    gallery, queries = choose_probe_faces(faces, shots, 3, seed=0)
    assert gallery["identity"].nunique() == 3
    assert set(gallery["identity"]) == set(queries["identity"])
    assert gallery.groupby("identity").size().eq(2).all()
    assert set(queries["split"]) == {"train"}
    kept = faces[faces["identity"].isin(gallery["identity"]) & (faces["split"] == "train")]
    assert set(queries["key"]) == set(kept["key"]) - set(shots["key"])
    again = choose_probe_faces(faces.sample(frac=1, random_state=1), shots, 3, seed=0)
    assert set(again[0]["key"]) == set(gallery["key"])
    draws = {frozenset(choose_probe_faces(faces, shots, 3, seed)[0]["identity"]) for seed in range(5)}
    assert len(draws) > 1


def test_a_row_a_model_and_probe(faces, tmp_path):
    gallery, queries = choose_probe_faces(faces, select_shots(faces, 2, seed=0), 100, seed=0)
    models, store = {"a": Knows(faces), "b": Blind()}, EmbeddingStore(tmp_path)
    table = probe_backbones(models, gallery, queries, store, OPTIONS, ALONE)
    assert list(table.columns) == COLUMNS
    assert table[["model", "probe"]].to_numpy().tolist() == [
        ["a", "linear"],
        ["a", "knn"],
        ["b", "linear"],
        ["b", "knn"],
    ]
    assert table[["images", "identities", "shots"]].drop_duplicates().to_numpy().tolist() == [[28, 7, 14]]
    accuracy = table.set_index(["model", "probe"])["accuracy"]
    assert (accuracy["a"] == 1).all()
    assert (accuracy["b"] < 0.6).all()


@pytest.mark.parametrize(("shots", "identities"), [(None, 100), (2, 0), (2, 1)])
def test_without_queries_the_table_is_empty_and_says_why(faces, tmp_path, caplog, shots, identities):
    if identities == 1:
        faces = faces[faces["identity"] == faces["identity"].iloc[0]]
    chosen = select_shots(faces, shots, seed=0)
    gallery, queries = choose_probe_faces(faces, chosen, identities, seed=0)
    assert gallery.empty
    assert queries.empty
    table = probe_backbones({"a": Blind()}, gallery, queries, EmbeddingStore(tmp_path), OPTIONS, ALONE)
    assert list(table.columns) == COLUMNS
    assert table.empty
    assert "no labeled identity has images beside those of the adaptation" in caplog.text
