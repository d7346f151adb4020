"""Parameters that nobody reads and groups that do not fit are refused before anything runs."""

import inspect
from pathlib import Path

import pytest

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.models.sizes import LANDMARKS, PATCH_SIZE, SIZE_NAMES
from lafs_pipeline.pipelines.checks import check_together, given_names, refuse_unknown
from lafs_pipeline.pipelines.parameters import GROUPS, group_settings, parse
from lafs_pipeline.runtime.errors import LafsError

PROJECT = Path(__file__).parents[2]
SMALL = {"sizes": {"num_landmarks": 49, "patch_size": 16}}


def together(**groups):
    check_together(
        {name: parse(group_settings(name), values, name) for name, values in groups.items()}, groups
    )


def test_misspelt_names_get_the_nearest_one():
    with pytest.raises(LafsError, match=r"parameter pretrian is unknown, the nearest is pretrain; there are"):
        refuse_unknown({"pretrian": {}}, GROUPS)
    with pytest.raises(
        LafsError, match=r"paths\.checkpoint is unknown, the nearest is checkpoints; paths has"
    ):
        refuse_unknown({"checkpoint": ""}, ["stores", "checkpoints"], "paths")
    with pytest.raises(
        LafsError, match=r"adapt\.recognition\.training\.epoch is unknown, the nearest is epochs"
    ):
        parse(group_settings("adapt"), {"recognition": {"training": {"epoch": 1}}}, "adapt")
    refuse_unknown({"pretrain": {}}, GROUPS)


def test_names_outside_of_groups_are_those_that_the_configuration_takes():
    names = {"faces_folder", "labeled_folder", "benchmark_folder", "benchmark_pairs"}
    assert given_names(PROJECT / "conf") == names


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"model": SMALL, "pretrain": {"views": {"local_landmarks": 50, "with_replacement": False}}},
            r"local_landmarks is 50 and the model has 49 .*at most 49, or null",
        ),
        (
            {"model": SMALL, "pretrain": {"methods": ["grid"], "grid": {"local_size": 50}}},
            r"pretrain\.grid\.local_size is 50, no multiple of .* 16 pixels .*give 48 or 64",
        ),
        (
            {"model": {}, "pretrain": {"grid": {"local_size": 50}}, "study": {"methods": ["grid"]}},
            r"pretrain\.grid\.local_size is 50, .* 8 pixels .*give 48 or 56",
        ),
        (
            {"model": {"sizes": {"patchsize": 3}}},
            r"model\.sizes\.patchsize is unknown, the nearest is patch_size; model\.sizes has",
        ),
        (
            {"launch": {"processes": 3}, "pretrain": {}},
            r"pretrain\.training\.batch_size 164 .*batch_size to 162 or 165",
        ),
        (
            {
                "launch": {"processes": 3},
                "landmarks": {"method": "warps", "warps": {"training": {"batch_size": 64}}},
            },
            r"landmarks\.warps\.training\.batch_size \d+ .*batch_size to",
        ),
        (
            {"pretrain": {"training": {"weight_decay": 0, "final_weight_decay": 0.4}}},
            r"final_weight_decay is 0\.4 and training\.weight_decay 0",
        ),
    ],
)
def test_groups_that_do_not_fit(groups, message):
    with pytest.raises(LafsError, match=message):
        together(**groups)


@pytest.mark.parametrize(
    "groups",
    [
        {"model": SMALL, "pretrain": {"views": {"local_landmarks": 49, "with_replacement": False}}},
        {"model": SMALL, "pretrain": {"views": {"local_landmarks": 60, "with_replacement": True}}},
        {"model": SMALL, "pretrain": {"views": {"local_landmarks": None}}},
        {"model": SMALL, "pretrain": {"methods": ["grid"], "grid": {"local_size": 48}}},
        {"model": SMALL, "study": {"methods": ["scratch", "lafs"]}, "pretrain": {"grid": {"local_size": 50}}},
        {"launch": {"processes": "auto"}, "pretrain": {}},
        {"pretrain": {"training": {"weight_decay": 0, "final_weight_decay": None}}},
        {"pretrain": {"training": {"weight_decay": 1e-6, "final_weight_decay": 0.4}}},
    ],
)
def test_groups_that_fit(groups):
    together(**groups)


def test_sizes_of_a_model_that_says_nothing_are_those_it_gets():
    defaults = {name: p.default for name, p in inspect.signature(PartFViT.__init__).parameters.items()}
    assert set(defaults) - {"self"} == set(SIZE_NAMES)
    assert (defaults["num_landmarks"], defaults["patch_size"]) == (LANDMARKS, PATCH_SIZE)
    assert inspect.signature(FViT.__init__).parameters["patch_size"].default == PATCH_SIZE
