"""The graph: pipelines that fit together."""

import re
from pathlib import Path

import pytest
from kedro.io import CatalogConfigResolver

from lafs_pipeline.pipeline_registry import register_pipelines
from lafs_pipeline.settings import CONFIG_LOADER_ARGS, ProjectConfigLoader

CONF = Path(__file__).parents[2] / "conf"
STAGES = ["cataloging", "landmarks", "pretrain", "adapt", "evaluate", "report"]
LAYERS = ["intermediate", "primary", "feature", "models", "model_output", "reporting"]
NEVER_MISSING = {"embeddings", "earlier_study_runs"}
"""A store that is empty at first, and what is read where it is there."""


def data(names):
    return {name for name in names if not name.startswith("params:")}


def test_the_pipelines_and_their_sum():
    pipelines = register_pipelines()
    assert list(pipelines) == ["__default__", *STAGES, "study", "export"]
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in STAGES)
    assert data(pipelines["__default__"].inputs()) == NEVER_MISSING


def test_each_needs_only_what_earlier_ones_leave():
    pipelines = register_pipelines()
    there = set(NEVER_MISSING)
    for name in STAGES:
        assert data(pipelines[name].inputs()) <= there
        there |= pipelines[name].all_outputs()
    assert data(pipelines["study"].inputs()) <= there
    assert data(pipelines["export"].inputs()) <= there | {"backbone_digests"}


def test_in_the_whole_every_pipeline_is_one_namespace():
    pipelines = register_pipelines()
    whole = pipelines["__default__"]
    assert {group.name for group in whole.group_nodes_by("namespace")} == set(STAGES)
    for name in STAGES:
        assert whole.only_nodes_with_namespaces([name]).nodes == pipelines[name].nodes


def test_node_names_begin_with_their_pipeline_and_are_short_and_unique():
    pipelines = register_pipelines()
    for name in [*STAGES, "study", "export"]:
        names = [node.name for node in pipelines[name].nodes]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(rf"{name}\.\w{{1,25}}", each) for each in names)


def test_layers_follow_the_data_through_the_boxes_of_kedro_viz():
    """What a box takes lies in no later layer than what it makes; else Kedro-Viz shows no layers at all."""
    catalog = ProjectConfigLoader(str(CONF), **CONFIG_LOADER_ARGS, env="base")["catalog"]
    resolver = CatalogConfigResolver(catalog)

    def layer(name):
        metadata = resolver.resolve_pattern(name).get("metadata") or {}
        return metadata.get("kedro-viz", {}).get("layer")

    pipelines, before = register_pipelines(), {}
    used = set().union(*(pipelines[name].inputs() for name in STAGES))
    for name in STAGES:
        inputs = data(pipelines[name].inputs())
        earlier = inputs.union(*(before.get(each, set()) for each in inputs))
        seen = pipelines[name].outputs() | (pipelines[name].all_outputs() & used)  # not within a box alone
        before |= dict.fromkeys(seen, earlier)
    pairs = {(layer(first), layer(later)) for later, earlier in before.items() for first in earlier}
    shown = {(first, later) for first, later in pairs if first and later}
    assert {name for pair in shown for name in pair} >= {"primary", "feature", "models", "reporting"}
    assert [(a, b) for a, b in sorted(shown) if LAYERS.index(a) > LAYERS.index(b)] == []


@pytest.mark.parametrize("pipeline", ["__default__", "study", "export"])
def test_nothing_that_a_node_needs_lies_only_in_memory(pipeline):
    catalog = ProjectConfigLoader(str(CONF), **CONFIG_LOADER_ARGS, env="base")["catalog"]
    resolver = CatalogConfigResolver(catalog)
    for name in data(register_pipelines()[pipeline].datasets()):
        assert name in catalog or resolver.match_dataset_pattern(name), name
