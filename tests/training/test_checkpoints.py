import logging
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.checkpoints import Checkpoint, clear, load_latest, require_fitting
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter

FILES = ["weights.safetensors", "optimizer.pt", "checkpoint.json"]


def make(step, value=0.0, score=None, size=6):
    weights = {"layer.weight": torch.full((size // 2, 2), value), "counter": torch.tensor(step)}
    return Checkpoint(
        step,
        weights,
        {"state": {0: {"exp_avg": torch.full((3,), value)}}, "param_groups": [{"betas": (0.9, 0.95)}]},
        {"seed": 1, "nested": {"a": [1]}, "data": "fingerprint"},
        {"skipped_steps": step},
        score,
    )


def save(folder, *made, keep=2, milestone_every=None):
    with CheckpointWriter(folder, keep, milestone_every) as writer:
        for checkpoint in made:
            writer.save(checkpoint)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def trained():
    """A network in channels-last memory and its AdamW after three steps, in three precisions."""
    torch.manual_seed(3)
    network = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "out": nn.Linear(4, 2)})
    network.to(memory_format=torch.channels_last)
    network.out.to(torch.float64)
    network.register_buffer("bf16", torch.randn(5).to(torch.bfloat16))
    network.register_buffer("count", torch.tensor(2**60 + 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True, betas=(0.9, 0.95))
    for _ in range(3):
        features = network.norm(network.conv(torch.randn(2, 3, 8, 8))).mean((2, 3))
        network.out(features.double()).square().sum().backward()
        optimizer.step()
    return network, optimizer


def bits(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor


def test_round_trip_keeps_every_bit(tmp_path):
    network, optimizer = trained()
    weights, state = network.state_dict(), optimizer.state_dict()
    extra = {"skipped_steps": 3, "best": 0.1 + 0.2, "names": ["a"]}
    save(tmp_path, Checkpoint(7, weights, state, {"seed": 1, "nested": {"a": [1]}}, extra, 0.125))
    loaded = load_latest(tmp_path)
    assert (loaded.step, loaded.score, loaded.extra) == (7, 0.125, extra)
    assert loaded.configuration == {"seed": 1, "nested": {"a": [1]}}
    assert loaded.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert loaded.weights[name].dtype == value.dtype
        assert torch.equal(bits(loaded.weights[name]), bits(value)), name
    assert loaded.optimizer["param_groups"] == state["param_groups"]
    for index, slots in state["state"].items():
        for name, value in slots.items():
            assert torch.equal(bits(loaded.optimizer["state"][index][name]), bits(value))
            assert loaded.optimizer["state"][index][name].stride() == value.stride()


def test_values_that_no_json_number_can_be_are_no_score(tmp_path):
    save(tmp_path, make(1, score=float("nan")), make(2, score=float("-inf")), keep=1)
    assert names(tmp_path) == ["step-00000002"]
    assert load_latest(tmp_path).score is None


def test_other_people_of_the_group_may_read_a_checkpoint(tmp_path):
    mask = os.umask(0o027)
    try:
        save(tmp_path, make(1))
    finally:
        os.umask(mask)
    assert (tmp_path / "step-00000001").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [("cut", "bytes instead of|not readable"), ("flip", "checksum"), ("remove", "missing")],
)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path, name, damage, reason, caplog):
    save(tmp_path, make(5), make(10))
    path = tmp_path / "step-00000010" / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        place = content.index(b"fingerprint") if name == "checkpoint.json" else len(content) // 2
        content[place] ^= 0x01
        path.write_bytes(content)
    assert load_latest(tmp_path).step == 5
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert str(path) in warning.message
    assert any(text in warning.message for text in reason.split("|"))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    save(folder, make(5), make(10, 1.5))
    return folder


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_found_or_changes_nothing(pristine, data):
    path = pristine / "step-00000010" / data.draw(st.sampled_from(FILES))
    whole = path.read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        loaded = load_latest(pristine)
    finally:
        path.write_bytes(whole)
    expected = make(10, 1.5) if loaded.step == 10 else make(5)
    assert torch.equal(loaded.weights["layer.weight"], expected.weights["layer.weight"])
    assert replace(loaded, weights={}, optimizer={}) == replace(expected, weights={}, optimizer={})
    assert path.name == "checkpoint.json" or loaded.step == 5


def test_a_folder_without_checkpoints(tmp_path):
    (tmp_path / "step-by-step.txt").touch()
    assert load_latest(tmp_path) is None
    assert load_latest(tmp_path / "none") is None


def test_clear_removes_checkpoints_and_nothing_else(tmp_path):
    save(tmp_path, make(5), make(10))
    (tmp_path / "metrics.jsonl").touch()
    clear(tmp_path)
    assert names(tmp_path) == ["metrics.jsonl"]


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, make(1, 1.0), make(1, 2.0), keep=1)
    assert names(tmp_path) == ["step-00000001"]
    assert load_latest(tmp_path).weights["layer.weight"][0, 0] == 2.0


def test_a_crash_between_the_two_renames_of_a_replacement_loses_nothing(tmp_path):
    save(tmp_path, make(1, 1.0))
    (tmp_path / "step-00000001").rename(tmp_path / "step-00000001.replaced")
    assert load_latest(tmp_path).weights["layer.weight"][0, 0] == 1.0
    save(tmp_path, make(1, 2.0))
    assert names(tmp_path) == ["step-00000001"]


def test_what_a_dead_writer_left_is_removed(tmp_path):
    (tmp_path / ".writing-step-00000003").mkdir()
    (tmp_path / ".writing-step-00000003" / "optimizer.pt").touch()
    assert load_latest(tmp_path) is None
    save(tmp_path, make(3))
    assert names(tmp_path) == ["step-00000003"]


def test_weights_of_another_model_are_named(tmp_path):
    saved, other = nn.ModuleDict({"a": nn.Linear(2, 3)}), nn.ModuleDict({"b": nn.Linear(2, 3)})
    save(tmp_path, Checkpoint(4, saved.state_dict(), {}, {}))
    loaded = load_latest(tmp_path)
    require_fitting(loaded, saved, tmp_path)
    with pytest.raises(LafsError, match="step 4") as failure:
        require_fitting(loaded, other, tmp_path)
    for part in (
        str(tmp_path),
        "missing: b.bias, b.weight;",
        "unexpected: a.bias, a.weight.",
        "training.resume",
    ):
        assert part in str(failure.value)
    with pytest.raises(LafsError, match=r"another shape: a\.weight \(3, 2\) instead of \(3, 5\)\."):
        require_fitting(loaded, nn.ModuleDict({"a": nn.Linear(5, 3)}), tmp_path)
    deep = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3)))
    with pytest.raises(LafsError, match=r"missing: 0\.bias, 0\.weight, 1\.bias and 3 more;"):
        require_fitting(loaded, deep, tmp_path)
