"""The graph: pipelines that fit together."""

from lafs_pipeline.pipeline_registry import register_pipelines

STATIONS = ["cataloging", "landmarks", "pretrain", "adapt", "evaluate", "report"]
HEADERS = {"lafs_backbone_digest"}
"""Read from the header of a file that another data set writes."""


def data(names):
    return {name for name in names if not name.startswith("params:")} - HEADERS


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


def test_in_the_whole_every_pipeline_is_one_namespace():
    pipelines = register_pipelines()
    whole = pipelines["__default__"]
    assert {group.name for group in whole.group_nodes_by("namespace")} == set(STATIONS)
    for name in STATIONS:
        part = whole.only_nodes_with_namespaces([name])
        assert (part.inputs(), part.all_outputs()) == (
            pipelines[name].inputs(),
            pipelines[name].all_outputs(),
        )
        assert {node.name for node in part.nodes} == {f"{name}.{node.name}" for node in pipelines[name].nodes}


def test_node_names_are_short_and_unique():
    pipelines = register_pipelines()
    names = [node.name for name in STATIONS for node in pipelines[name].nodes]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 25
