import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.checkpoints import Checkpoint, load_latest
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter


def make(step, value=0.0, score=None, size=6):
    weights = {"layer.weight": torch.full((size // 2, 2), value)}
    optimizer = {"state": {0: {"exp_avg": torch.full((3,), value)}}}
    return Checkpoint(step, weights, optimizer, {"seed": 1}, {"skipped_steps": step}, score)


def save(folder, *made, keep=2, milestone_every=None):
    with CheckpointWriter(folder, keep, milestone_every) as writer:
        for checkpoint in made:
            writer.save(checkpoint)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def steps(folder):
    return [int(name.removeprefix("step-")) for name in names(folder)]


@given(
    scores=st.lists(st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=9),
    keep=st.integers(1, 3),
    milestone_every=st.one_of(st.none(), st.integers(1, 4)),
    restart=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_retention(tmp_path_factory, scores, keep, milestone_every, restart):
    folder = tmp_path_factory.mktemp("retention")
    made = [make(step, score=score) for step, score in enumerate(scores, start=1)]
    save(folder, *made[:restart], keep=keep, milestone_every=milestone_every)
    save(folder, *made[restart:], keep=keep, milestone_every=milestone_every)
    expected = set(range(1, len(scores) + 1)[-keep:])
    expected |= {
        step for step in range(1, len(scores) + 1) if milestone_every and step % milestone_every == 0
    }
    if any(scores):
        highest = max(score for score in scores if score)
        expected.add(len(scores) - scores[::-1].index(highest))
    assert set(steps(folder)) == expected
    shutil.rmtree(folder)


def test_damaged_ones_do_not_count_as_kept(tmp_path):
    save(tmp_path, make(1), make(2, score=0.8), make(3, score=0.9), make(4), keep=4)
    for step in (3, 4):
        path = tmp_path / f"step-0000000{step}" / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    save(tmp_path, make(5), keep=2)
    assert steps(tmp_path) == [2, 3, 4, 5]
    save(tmp_path, make(6), make(7), keep=2)
    assert steps(tmp_path) == [2, 6, 7]


def test_changes_after_save_do_not_reach_the_file(tmp_path):
    weights = {"w": torch.ones(1 << 20), "buffer": torch.ones(3)}
    moments = {"state": {0: {"exp_avg": torch.ones(1 << 20), "step": torch.tensor(1.0)}}}
    extra, configuration = {"best": [1]}, {"seed": {"value": 1}}
    with CheckpointWriter(tmp_path, keep=9) as writer:
        for step in (1, 2, 3):
            writer.save(Checkpoint(step, weights, moments, configuration, extra))
            for tensor in (*weights.values(), *moments["state"][0].values()):
                tensor.add_(1)
            extra["best"].append(0)
            configuration["seed"]["value"] += 1
    for step in (3, 2, 1):
        loaded = load_latest(tmp_path)
        assert loaded.step == step
        for tensor in (*loaded.weights.values(), *loaded.optimizer["state"][0].values()):
            assert (tensor == step).all()
        assert loaded.extra == {"best": [1] + [0] * (step - 1)}
        assert loaded.configuration == {"seed": {"value": step}}
        shutil.rmtree(tmp_path / f"step-0000000{step}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_changes_on_a_gpu_after_save_do_not_reach_the_file(tmp_path):
    weights = {"w": torch.ones(1 << 28, device="cuda")}
    with CheckpointWriter(tmp_path, keep=9) as writer:
        for step in (1, 2):
            writer.save(Checkpoint(step, weights, {}, {}))
            weights["w"].add_(1)
    assert (load_latest(tmp_path).weights["w"] == 2).all()


def test_tensors_may_change_their_shape_between_saves(tmp_path):
    save(tmp_path, make(1, 1.0, size=6), make(2, 2.0, size=1000))
    assert torch.equal(load_latest(tmp_path).weights["layer.weight"], torch.full((500, 2), 2.0))


def test_a_save_waits_for_the_one_before_and_says_so(tmp_path, caplog):
    with CheckpointWriter(tmp_path, keep=3) as writer:
        for step in (1, 2):
            writer.save(make(step, float(step), size=1 << 25))
    assert steps(tmp_path) == [1, 2]
    assert (load_latest(tmp_path).weights["layer.weight"] == 2.0).all()
    (warning,) = caplog.records
    assert "before step 2 was still being written" in warning.message


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted")
    yield folder
    subprocess.run(["umount", folder], check=True)


LARGE = torch.zeros(1 << 20)


@pytest.mark.parametrize(
    "too_large",
    [replace(make(2), weights={"w": LARGE}), replace(make(2), optimizer={"state": {0: {"exp_avg": LARGE}}})],
)
def test_a_full_disk(small_disk, too_large):
    folder = small_disk / "run"
    writer = CheckpointWriter(folder, keep=1)
    writer.save(make(1, 1.0))
    writer.save(too_large)
    with pytest.raises(LafsError, match=r"checkpoint of step 2 could not be written") as failure:
        writer.drain()
    needed = LARGE.nbytes + (12 if "w" in too_large.weights else 24)
    free = shutil.disk_usage(folder).free
    for part in (str(folder), "No space left", f"needs {needed:,} bytes", f"{free:,} are free", "Make room"):
        assert part in str(failure.value)
    assert names(folder) == ["step-00000001"]
    assert load_latest(folder).weights["layer.weight"][0, 0] == 1.0
    writer.drain()
    writer.save(make(3))
    writer.drain()
    assert steps(folder) == [3]


def test_an_error_surfaces_once_and_at_the_next_call(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    with CheckpointWriter(blocked / "run", keep=1) as writer:
        writer.save(make(1))
        with pytest.raises(LafsError, match="step 1 could not be written") as failure:
            writer.save(make(2))
        assert os.strerror(errno.ENOTDIR) in str(failure.value)
        writer.drain()
        blocked.unlink()
        writer.save(make(3))
    assert steps(blocked / "run") == [3]


def test_an_error_of_the_training_goes_before_one_of_the_writer(tmp_path, caplog):
    (tmp_path / "file").touch()

    def train():
        with CheckpointWriter(tmp_path / "file", keep=1) as writer:
            writer.save(make(1))
            raise KeyError("loss")

    with pytest.raises(KeyError, match="loss"):
        train()
    assert "step 1 could not be written" in caplog.text
    with pytest.raises(LafsError, match="step 1 could not be written"):
        save(tmp_path / "file", make(1))


def test_what_is_no_json_is_refused_at_once(tmp_path):
    save(tmp_path, make(5))
    with pytest.raises(TypeError), CheckpointWriter(tmp_path, keep=2) as writer:
        writer.save(replace(make(6), extra={"not json": object()}))
    assert steps(tmp_path) == [5]


ENDLESS_WRITER = """
import os, sys, torch
from lafs_pipeline.training.checkpoints.writer import CheckpointWriter
from lafs_pipeline.training.checkpoints import Checkpoint, load_latest
folder = sys.argv[1]
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        latest = load_latest(folder)
        step = latest.step if latest else 0
        weights, moments = {"w": torch.zeros(100_000)}, {"exp_avg": torch.zeros(100_000)}
        with CheckpointWriter(folder, keep=1, milestone_every=50) as writer:
            while True:
                step += 1
                weights["w"].fill_(step), moments["exp_avg"].fill_(-step)
                for attempt in range(2):
                    writer.save(Checkpoint(step, weights, moments, {}, {"step": step}, score=-step))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    rng = random.Random(0)
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS_WRITER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    reached = 0
    with parent:
        for _ in range(12):
            print("go", file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            for _ in range(3000):
                if any(tmp_path.glob("step-*")):
                    break
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "dead\n"
            loaded = load_latest(tmp_path)
            assert loaded.step >= reached
            assert (loaded.weights["w"] == loaded.step).all()
            assert (loaded.optimizer["exp_avg"] == -loaded.step).all()
            assert loaded.extra == {"step": loaded.step}
            reached = loaded.step
        parent.stdin.close()
    assert reached > 12
