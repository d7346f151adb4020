import dataclasses

import pytest

from lafs_pipeline.pipelines.parameters import group_settings, parse
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.recipes.settings import PretrainSettings


def test_nested_values_become_frozen_settings():
    options = parse(PretrainSettings, {"prototypes": 64, "training": {"epochs": 3}}, "pretrain")
    assert (options.prototypes, options.training.epochs, options.training.clip_norm) == (64, 3, 3.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.prototypes = 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"tokenz": 1},
            r"pretrain\.tokenz is unknown; pretrain has methods, grid, landmarks, views",
        ),
        (
            {"training": {"epoch": 1}},
            r"pretrain\.training\.epoch is unknown, the nearest is epochs; pretrain\.training has epochs",
        ),
        ({"views": {"flip": 1}}, r"pretrain\.views\.flip is unknown.*flip_probability"),
        ({"center_momentum": 1.0}, r"pretrain\.center_momentum is 1\.0: input should be less than 1"),
        (
            {"training": {"epochs": "many"}},
            r"pretrain\.training\.epochs is 'many': input should be a valid integer",
        ),
        ({"views": {"global_scale": [0.9, 0.1]}}, r"pretrain.*global_scale"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(LafsError, match=message):
        parse(PretrainSettings, values, "pretrain")


def test_views_that_do_not_fit_the_tokens():
    with pytest.raises(LafsError, match=r"views\.global_views is 3"):
        parse(PretrainSettings, {"views": {"global_views": 3}}, "pretrain")
    with pytest.raises(LafsError, match=r"views\.local_size is 48"):
        parse(PretrainSettings, {"views": {"local_size": 48}}, "pretrain")
    on_grid = parse(PretrainSettings, {"methods": ["grid"], "views": {"local_size": 48}}, "pretrain")
    assert not on_grid.with_landmarks()


def test_an_old_name_is_refused_with_the_new_one():
    with pytest.raises(LafsError, match=r"evaluate\.normalise_images is called normalize_images now"):
        parse(group_settings("evaluate"), {"normalise_images": True}, "evaluate")
    sources = {"sources": {"own": {"path": "faces", "labelled": False}}}
    with pytest.raises(LafsError, match=r"sources\.own\.labelled is called labeled now"):
        parse(group_settings("cataloging"), sources, "cataloging")


@pytest.mark.parametrize(("group", "name"), [("evaluate", "embeddings"), ("report", "study_runs")])
def test_a_path_that_the_catalog_says_now_is_refused_with_its_entry(group, name):
    with pytest.raises(
        LafsError, match=rf"{group}\.{name} is gone: the entry (earlier_)?{name} of the catalog"
    ):
        parse(group_settings(group), {name: "data/there"}, group)
