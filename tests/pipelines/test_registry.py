"""The graph: pipelines that fit together."""

from lafs_pipeline.pipeline_registry import register_pipelines

STATIONS = ["cataloging", "landmarks", "pretrain", "adapt", "evaluate", "report"]


def data(names):
    return {name for name in names if not name.startswith("params:")}


def test_the_pipelines_and_their_sum():
    pipelines = register_pipelines()
    assert list(pipelines) == ["__default__", *STATIONS, "study", "export"]
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in STATIONS)
    assert data(pipelines["__default__"].inputs()) == set()


def test_each_needs_only_what_earlier_ones_leave():
    pipelines = register_pipelines()
    there = set()
    for name in STATIONS:
        assert data(pipelines[name].inputs()) <= there
        there |= pipelines[name].all_outputs()
    assert data(pipelines["study"].inputs()) <= there
    assert data(pipelines["export"].inputs()) <= there


def test_adaptation_runs_twice_in_namespaces():
    adapt = register_pipelines()["adapt"]
    assert {node.namespace for node in adapt.nodes if node.namespace} == {"lafs", "scratch"}
    assert {"face_model_lafs", "face_model_scratch"} <= adapt.outputs()


def test_node_names_are_short_and_unique():
    nodes = register_pipelines()["__default__"].nodes
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 25
