import pytest
import torch

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.recipes.starts import fresh_landmark_network, fresh_model, pretraining_start

NAME = "part_fvit_tiny_patch8_112"
SIZES = {"num_landmarks": 9, "patch_size": 16, "dim": 16, "depth": 1, "heads": 2, "landmark_width": 0.25}


def same(first, second) -> bool:
    mine, theirs = first.state_dict(), second.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_landmark_network_alone_is_that_of_the_fresh_model():
    network = fresh_model(NAME, SIZES, 3).landmark_network
    assert same(fresh_landmark_network(network.sizes, 3), network)
    assert not same(fresh_landmark_network(network.sizes, 4), network)


def test_what_pretraining_starts_from():
    network = fresh_landmark_network({"num_landmarks": 9, "width": 0.25}, 8)
    lafs = pretraining_start(NAME, SIZES, 3, network, PretrainSettings())
    grid = pretraining_start(NAME, SIZES, 3, network, PretrainSettings(methods=("grid",)))
    assert isinstance(lafs, PartFViT)
    assert same(lafs.landmark_network, network)
    assert isinstance(grid, FViT)
    assert grid.sizes == {name: lafs.sizes[name] for name in lafs.sizes if "landmark" not in name}


def test_another_number_of_landmarks_is_refused():
    with pytest.raises(LafsError, match="landmark network has"):
        pretraining_start(NAME, SIZES, 3, fresh_landmark_network({"num_landmarks": 4}, 0), PretrainSettings())
