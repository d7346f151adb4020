"""What runs are called."""

from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.tracking.labels import (
    WHOLE,
    Labels,
    in_order,
    joined,
    make_labels,
    run_details,
    size_name,
    stage_experiment,
)

TINY = build_model("part_fvit_tiny_patch8_112", {}).sizes


def parameters(methods=("grid", "lafs"), shots=4, **model):
    return {
        "pretrain": {"methods": list(methods)},
        "adapt": {"shots": shots},
        "model": {"name": "part_fvit_small_patch8_112", "sizes": {}} | model,
    }


@pytest.mark.parametrize(
    ("pipelines", "given", "name"),
    [
        ([WHOLE], None, "all a+b grid+lafs small 4-shot"),
        (["cataloging"], None, "cataloging a+b"),
        (["cataloging", "landmarks"], None, "cataloging+landmarks a+b small"),
        (["pretrain"], None, "pretrain a+b grid+lafs small"),
        (["adapt"], (["lafs"], TINY), "adapt a+b lafs tiny 4-shot"),
        (["adapt"], (["grid", "mine"], TINY | {"dim": 96, "depth": 2}), "adapt a+b grid+mine 96x2 4-shot"),
        (["evaluate"], ([], TINY), "evaluate a+b tiny"),
        (["study"], (["lafs"], TINY), "study a+b tiny"),
    ],
)
def test_a_name_says_what_a_run_has(pipelines, given, name):
    labels = make_labels(pipelines, ["a", "b"], parameters(), given)
    assert labels.run_name() == name
    assert " ".join(labels.tags().values()) == name.removesuffix("-shot")


def test_runs_that_differ_in_their_lengths_landmarks_or_seed_differ_in_their_names():
    wanted = parameters(sizes={"num_landmarks": 49}) | {"seed": 3}
    wanted["landmarks"] = {"method": "warps", "warps": {"training": {"epochs": 10}}}
    wanted["pretrain"]["training"] = {"epochs": 1}
    wanted["adapt"]["recognition"] = {"training": {"epochs": 6}}
    assert run_details([WHOLE], wanted) == ", 49 landmarks, 10+1+6 epochs, seed 3"
    assert run_details(["pretrain"], wanted) == ", 49 landmarks, 1 epochs, seed 3"
    assert run_details(["cataloging"], wanted) == ", seed 3"
    wanted["landmarks"] = {"method": "identities", "recognition": {"training": {"epochs": 7}}}
    assert run_details(["landmarks"], wanted) == ", 49 landmarks, 7 epochs, seed 3"


def test_many_names_become_the_first_and_a_number():
    assert joined([]) == ""
    assert joined(["lfw", "agedb"]) == "lfw+agedb"
    assert joined(f"source_{number:02}" for number in range(45)) == (
        "+".join(f"source_{number:02}" for number in range(10)) + "+35 more"
    )
    assert joined(["x" * 600, "b"]) == "x" * 100 + "+1 more"


def test_a_name_follows_the_parameters():
    wanted = parameters(["grid"], None, name="part_fvit_tiny_patch8_112", sizes={"depth": 3})
    labels = make_labels(["pretrain", "adapt"], ["faces"], wanted, None)
    assert labels == Labels("pretrain+adapt", "faces", "grid", "192x3", "all")


@pytest.mark.parametrize("size", ["base", "small", "tiny"])
def test_registered_sizes_have_names_whatever_their_tokens(size):
    model = build_model(f"part_fvit_{size}_patch8_112", {"num_landmarks": 49, "patch_size": 16, "dropout": 0})
    assert size_name(model.sizes) == size
    assert size_name(model.sizes | {"heads": 2}) == f"{model.sizes['dim']}x12"


def test_one_pipeline_has_an_experiment_of_its_own():
    assert stage_experiment("faces", ["adapt"]) == "faces/adapt"
    assert stage_experiment("faces", ["adapt", "evaluate"]) == stage_experiment("faces", [WHOLE]) == "faces"


def test_the_order_is_that_of_the_registry_not_kedros():
    bootstrap_project(Path(__file__).parents[2])
    assert in_order(["evaluate", "adapt", "pretrain"]) == ["pretrain", "adapt", "evaluate"]
    assert in_order([]) == []
