"""Which training is resumed, extended, refused or started beside the others; on written checkpoints alone."""

import json
import os
from dataclasses import asdict, replace
from hashlib import sha256

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint
from lafs_pipeline.training.checkpoints.folders import configuration_digest, find_trainings
from lafs_pipeline.training.checkpoints.resume import Start, choose_start, load_start
from lafs_pipeline.training.recipes.settings import PretrainSettings
from lafs_pipeline.training.settings import OPERATIONAL, TrainingSettings, deciding_configuration

STEPS_PER_EPOCH = 4


def configuration(epochs=2, **changes):
    settings = {"training": {"epochs": epochs, "learning_rate": 0.1}}
    return {"settings": settings, "seed": 0, "total_steps": STEPS_PER_EPOCH * epochs} | changes


def digest(configuration):
    """A configuration's digest, by hand."""
    return sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


def train(start, *steps):
    """Leave checkpoints and metrics of these steps, later than all before."""
    for step in steps:
        checkpoint = Checkpoint(step, {"w": torch.ones(9)}, {}, start.configuration)
        path = checkpoints.write(start.folder, checkpoint)
        train.clock += 1
        os.utime(path, (train.clock, train.clock))
    (start.folder / "metrics.jsonl").write_text('{"step": 1}\n')
    return start


train.clock = 1_600_000_000


def choose(folder, resume="auto", **changes):
    return choose_start(folder, "pretrain", configuration(**changes), resume)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints/pretrain"


def test_a_folder_is_named_after_the_digest_of_its_configuration(folder):
    start = choose(folder)
    assert start == Start(folder / digest(configuration())[:12], configuration())
    assert not folder.exists()
    reordered = dict(reversed(configuration().items()))
    assert configuration_digest(reordered) == digest(configuration())


@given(st.sampled_from(OPERATIONAL), st.integers(100, 200))
def test_settings_that_cannot_change_the_result_are_not_in_the_digest(name, value):
    plain = PretrainSettings()
    changed = replace(plain, training=replace(plain.training, **{name: value}), probe_images=value)
    assert deciding_configuration(changed) == deciding_configuration(plain)
    assert {"workers", "log_every", "max_minutes"} <= set(OPERATIONAL) < set(asdict(TrainingSettings()))


@pytest.mark.parametrize("steps", [(4,), (4, 8)])
@pytest.mark.parametrize("resume", ["auto", "must"])
def test_the_same_configuration_is_resumed_whether_finished_or_not(folder, steps, resume):
    start = train(choose(folder), *steps)
    train(choose(folder, "never", seed=1), 4)
    assert choose(folder, resume) == start
    assert load_start(start, "pretrain", resume).step == steps[-1]


def test_another_configuration_starts_beside_a_finished_one_which_is_named(folder, caplog):
    train(choose(folder), 4, 8)
    before = contents(folder)
    with caplog.at_level("INFO"):
        beside = choose(folder, seed=1)
    assert beside.folder == folder / digest(configuration(seed=1))[:12]
    said, space = (record.getMessage() for record in caplog.records)
    finished = rf"{choose(folder).folder} holds a finished pretrain training (step 8 of 8)"
    for part in (finished, "differs in seed (0 -> 1)", "Restore the configuration", str(beside.folder)):
        assert part in said
    assert f"occupy {sum(map(len, before.values())) / 1000:.3g} kB" in space
    assert f"lafs checkpoints {folder}" in space
    train(beside, 8)
    assert before.items() <= contents(folder).items()


def test_an_unfinished_one_of_another_configuration_is_refused_until_never(folder):
    unfinished = train(choose(folder), 4)
    before = contents(folder)
    message = r"unfinished pretrain training \(step 4 of 8\).*seed \(0 -> 1\).*training\.resume to never"
    with pytest.raises(LafsError, match=message):
        choose(folder, seed=1)
    beside = choose(folder, "never", seed=1)
    assert beside.folder not in (unfinished.folder, folder)
    assert contents(folder) == before
    train(beside, 4)
    assert choose(folder, seed=1) == beside
    assert choose(folder) == unfinished


def test_never_starts_beside_its_own_and_auto_then_resumes_the_last(folder, monkeypatch):
    first = train(choose(folder), 8)
    second = choose(folder, "never")
    assert second.folder == first.folder.with_name(f"{first.folder.name}-2")
    assert choose(folder, "never") == second
    train(second, 4)
    assert choose(folder) == second
    assert choose(folder, "never").folder.name == f"{first.folder.name}-3"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert choose(folder, "never") == second
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    for path in checkpoints.candidates(first.folder):
        checkpoints.remove(path)
    assert choose(folder, "never").folder.name == f"{first.folder.name}-3"


def test_a_group_that_is_restarted_is_not_refused_before_its_first_checkpoint(folder, monkeypatch):
    train(choose(folder), 4)
    begun = choose(folder, "never", seed=1)
    begun.folder.mkdir()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert choose(folder, "never", seed=1) == begun


def test_must_does_not_start_anew(folder):
    with pytest.raises(
        LafsError, match=r"must, but .* holds no pretrain training; set training.resume to auto"
    ):
        choose(folder, "must")
    start = train(choose(folder), 8)
    with pytest.raises(LafsError, match=r"finished pretrain training \(step 8 of 8\).*seed \(0 -> 1\)"):
        choose(folder, "must", seed=1)
    for path in (start.folder / "step-00000008").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        LafsError, match=r"must, but .* holds no whole checkpoint of pretrain; set training.resume to auto"
    ):
        load_start(choose(folder, "must"), "pretrain", "must")


def test_more_epochs_extend_the_newest_finished_training_on_request(folder, caplog):
    short = train(choose(folder), 4, 8)
    train(choose(folder, seed=5), 8)
    with caplog.at_level("INFO"):
        choose(folder, epochs=3, seed=5)
    assert "Set training.resume to extend to train it up to step 12" in caplog.text
    start = choose(folder, "extend", epochs=3)
    extends = {"training": digest(short.configuration), "step": 8}
    assert start.configuration == configuration(epochs=3, extends=extends)
    assert start.extended == short.folder
    assert start.folder == folder / digest(start.configuration)[:12]
    assert load_start(start, "pretrain", "extend").step == 8
    train(start, 10)
    assert choose(folder, "extend", epochs=3) == start
    assert load_start(start, "pretrain", "extend").step == 10
    with pytest.raises(LafsError, match=r"step 10 of 12\).*extends.*Set training.resume to extend"):
        choose(folder, epochs=3)
    train(start, 12)
    assert choose(folder, "extend", epochs=3) == start
    again = choose(folder, "extend", epochs=5)
    assert again.configuration["extends"] == {"training": digest(start.configuration), "step": 12}
    assert again.extended == start.folder


def test_nothing_to_extend_is_said(folder):
    with pytest.raises(LafsError, match="found: none at all"):
        choose(folder, "extend", epochs=3)
    train(choose(folder), 4)
    with pytest.raises(LafsError, match=r"less than 12 steps.*found: an unfinished .*step 4 of 8"):
        choose(folder, "extend", epochs=3)
    train(choose(folder), 8)
    with pytest.raises(LafsError, match="less than 8 steps"):
        choose(folder, "extend")
    start = choose(folder, "extend", epochs=3)
    last = start.extended / "step-00000008/optimizer.pt"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(LafsError, match="last step, 8; start its training again: it resumes from step 4"):
        load_start(start, "pretrain", "extend")
    for path in checkpoints.candidates(start.extended):
        checkpoints.remove(path)
    with pytest.raises(LafsError, match="the training that it extends is gone"):
        load_start(replace(start, extended=None), "pretrain", "extend")


def test_trainings_are_found_below_a_folder_oldest_first_and_apart_from_their_checkpoints(folder):
    found = [train(choose(folder, "never", seed=seed), 4) for seed in (2, 1)]
    found.append(train(Start(folder.parent / "study/lafs-1/0123456789ab", configuration(seed=7)), 8))
    trainings = find_trainings(folder.parent)
    assert [training.path for training in trainings] == [start.folder for start in found]
    assert [training.finished for training in trainings] == [False, False, True]
    assert [training.size() for training in trainings] == [
        sum(map(len, contents(start.folder).values())) for start in found
    ]
