"""What goes wrong while a training runs: the message, and that nothing of it is lost."""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.training.rank_workers import Hang, hang_in_rank_1
from tests.training.small_trainings import (
    SEED,
    TRAINING,
    SmallTraining,
    difference,
    training_folder,
)

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.launch import Stopped, WorkerFailed, launch
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.runtime.metric_loggers import MetricLogger
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.sampling import StepBatches

RARELY = {"checkpoint_every": 100}


class Interruption(MetricLogger):
    """Receives metrics, and does something after a step."""

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def log(self, metrics: Mapping[str, float], step: int, images_seen: int) -> None:
        if step == self.step:
            self.action()


def stop_this() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def stop_parent() -> None:
    os.kill(os.getppid(), signal.SIGTERM)


def kill_loaders() -> None:
    for loader in multiprocessing.active_children():
        os.kill(loader.pid, signal.SIGKILL)


def place(folder: Path, *loggers, processes: int = 1, **launch_settings) -> RunContext:
    return RunContext(folder, SEED, loggers, LaunchSettings(processes=processes, **launch_settings))


def steps(folder: Path) -> list[int]:
    """The checkpoints of a folder, newest first."""
    return [checkpoints.step_of(path) for path in checkpoints.candidates(training_folder(folder))]


@pytest.fixture(scope="module")
def training(faces) -> SmallTraining:
    return SmallTraining("landmarks", faces)


@pytest.fixture(scope="module")
def unbroken(training, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    training.run(place(folder))
    return folder


@pytest.fixture
def small_disk(tmp_path, unbroken):
    """A folder on a file system of its own, with room for one checkpoint and a half; `grow` gives it more."""
    size = sum(file.stat().st_size for file in checkpoints.candidates(training_folder(unbroken))[0].iterdir())
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(["mount", *options, folder], capture_output=True, check=False)

    tmpfs = ("-t", "tmpfs", "-o", f"size={size * 3 // 2}", "tmpfs")
    if shutil.which("mount") is None or mount(*tmpfs).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder, lambda: mount("-o", f"remount,size={8 * size}")
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_costs_nothing(training, unbroken, small_disk):
    folder, grow = small_disk
    with pytest.raises(LafsError, match=re.escape(str(folder))) as refused:
        training.run(place(folder))
    expected = r"step 4 could not be written.* It needs ([\d,]+) bytes, ([\d,]+) are free"
    found = re.search(expected, str(refused.value))
    needed, free = (int(number.replace(",", "")) for number in found.groups())
    assert free < needed < sum(file.stat().st_size for file in folder.rglob("*")) * 1.1
    assert steps(folder) == [2]
    assert not list(folder.glob(f"{checkpoints.TEMPORARY}*"))
    grow()
    training.run(place(folder))
    assert difference(folder, unbroken) is None


@pytest.mark.parametrize("name", [checkpoints.WEIGHTS, checkpoints.OPTIMIZER, checkpoints.RECORD])
def test_a_shortened_checkpoint_is_skipped_and_costs_nothing(training, unbroken, tmp_path, caplog, name):
    with pytest.raises(Stopped):
        training.run(place(tmp_path, Interruption(5, stop_this)))
    assert steps(tmp_path) == [5, 4]
    damaged = training_folder(tmp_path) / "step-00000005" / name
    os.truncate(damaged, damaged.stat().st_size // 2)
    caplog.clear()
    with caplog.at_level("INFO"):
        training.run(place(tmp_path))
    assert re.search(rf"skipped checkpoint: {damaged}", caplog.text)
    assert "continues at step 4 of 8" in caplog.text
    assert difference(tmp_path, unbroken) is None


def test_a_training_is_called_after_its_folder(training, tmp_path, caplog):
    """Several trainings are of one stage."""
    with pytest.raises(Stopped, match=r"^pretrain_mine stopped at step 3 of 8"):
        training.run(place(tmp_path / "pretrain_mine", Interruption(3, stop_this)))
    with caplog.at_level("INFO"):
        training.run(place(tmp_path / "pretrain_mine"))
    assert "pretrain_mine: continues at step 3 of 8" in caplog.text


def test_a_checkpoint_of_another_model_is_refused(training, unbroken, tmp_path):
    with pytest.raises(Stopped):
        training.run(place(tmp_path, Interruption(3, stop_this)))
    other = replace(training, sizes={"depth": 3})
    message = r"unfinished landmarks training \(step 3 of 8\).*model\.depth \(2 -> 3\)"
    with pytest.raises(LafsError, match=message):
        other.run(place(tmp_path))
    folder = training_folder(tmp_path)
    whole = checkpoints.load_latest(folder)
    renamed = {name.replace("blocks.1", "blocks.7"): value for name, value in whole.weights.items()}
    checkpoints.write(folder, replace(whole, weights=renamed))
    message = r"step 3 .*of another model; missing: .*blocks\.1.*unexpected: .*blocks\.7"
    with pytest.raises(LafsError, match=message):
        training.run(place(tmp_path))
    checkpoints.write(folder, whole)
    training.run(place(tmp_path))
    assert difference(tmp_path, unbroken) is None


@pytest.fixture
def damaged(faces, tmp_path):
    """Damages the image at a place of a step's batch in a copy of the faces.

    Returns the manifest of the copy, the row of the image, and a function that mends it.
    """

    def damage(step: int, spot: int) -> tuple[pd.DataFrame, pd.Series, callable]:
        store = Path(shutil.copy(faces["store"][0], tmp_path / "faces.rec"))
        manifest = faces.assign(store=str(store))
        plan = StepBatches(len(faces), TRAINING.batch_size, 1, TRAINING.epochs, SEED)
        row = manifest.iloc[plan.step_indices(step)[spot]]
        whole = store.read_bytes()
        encoded = RecordIOReader(faces["store"][0]).read_image(row["record"]).encoded
        start = whole.index(encoded)
        store.write_bytes(whole[:start] + bytes(len(encoded)) + whole[start + len(encoded) :])
        return manifest, row, lambda: store.write_bytes(whole)

    return damage


@pytest.mark.parametrize("changes", [{}, {"workers": 1}, {"accumulation": 2}], ids=str)
@pytest.mark.parametrize("spot", [0, 5])
def test_a_damaged_image_is_named_and_costs_no_finished_step(faces, tmp_path, damaged, changes, spot):
    training = SmallTraining("landmarks", faces, {**RARELY, **changes})
    training.run(place(tmp_path / "unbroken"))
    manifest, row, mend = damaged(2, spot)
    broken = replace(training, manifest=manifest)
    with pytest.raises(LafsError) as refused:
        broken.run(place(tmp_path / "broken"))
    assert f"{row['store']}, record {row['record']} ({row['key']})" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert steps(tmp_path / "broken") == [2]
    mend()
    broken.run(place(tmp_path / "broken"))
    assert difference(tmp_path / "broken", tmp_path / "unbroken") is None


def test_a_killed_loader_is_named_and_costs_no_finished_step(faces, tmp_path):
    training = SmallTraining("landmarks", faces, {**RARELY, "workers": 1})
    training.run(place(tmp_path / "unbroken"))
    with pytest.raises(LafsError, match=r"load.*images.*memory.*training\.workers"):
        training.run(place(tmp_path / "broken", Interruption(3, kill_loaders)))
    assert steps(tmp_path / "broken") == [3]
    training.run(place(tmp_path / "broken"))
    assert difference(tmp_path / "broken", tmp_path / "unbroken") is None


def test_a_second_training_in_the_same_folder_is_refused(training, unbroken, tmp_path):
    context = multiprocessing.get_context("fork")
    outcomes = context.SimpleQueue()

    def second() -> None:
        torch.set_num_threads(1)
        try:
            training.run(place(tmp_path))
            outcomes.put("trained")
        except LafsError as error:
            outcomes.put(str(error))

    def begin_second() -> None:
        child = context.Process(target=second)
        child.start()
        child.join()

    training.run(place(tmp_path, Interruption(3, begin_second)))
    holder = rf"\(process {os.getpid()} on \S+\)"
    folder = re.escape(str(training_folder(tmp_path)))
    assert re.match(rf"{folder} is in use by another training {holder}", outcomes.get())
    assert difference(tmp_path, unbroken) is None


@pytest.mark.slow
def test_a_damaged_image_of_another_rank_costs_no_finished_step(faces, tmp_path, damaged):
    training = SmallTraining("landmarks", faces, RARELY)
    training.run(place(tmp_path / "unbroken"))
    manifest, row, mend = damaged(2, 3)  # the second rank's
    broken = replace(training, manifest=manifest)
    with pytest.raises(LafsError, match=re.escape(f"record {row['record']} ({row['key']})")):
        broken.run(place(tmp_path / "broken", processes=2))
    assert steps(tmp_path / "broken") == [2]
    mend()
    broken.run(place(tmp_path / "broken", processes=2))
    assert steps(tmp_path / "broken")[0] == 8


@pytest.mark.slow
def test_a_signal_to_the_parent_stops_all_ranks_at_one_step_and_costs_nothing(faces, tmp_path):
    training = SmallTraining("landmarks", faces, RARELY)
    training.run(place(tmp_path / "unbroken", processes=2))
    with pytest.raises(Stopped, match=r"stopped at step (\d) of 8 \(SIGTERM\)") as stopped:
        training.run(place(tmp_path / "broken", Interruption(3, stop_parent), processes=2))
    assert steps(tmp_path / "broken") == [int(re.search(r"step (\d)", stopped.value.reason)[1])]
    assert steps(tmp_path / "broken")[0] < 8
    training.run(place(tmp_path / "broken", processes=2))
    assert difference(tmp_path / "broken", tmp_path / "unbroken") is None


@pytest.mark.slow
def test_a_sample_that_never_comes_ends_the_group_by_the_timeout(faces, tmp_path):
    training = SmallTraining("landmarks", faces, {"workers": 1})
    settings = LaunchSettings(processes=2, timeout_seconds=8)
    with pytest.raises(WorkerFailed, match=r"rank 0 on (?s:.*)Timed out waiting 8000ms"):
        launch(hang_in_rank_1, Hang(training, tmp_path, step=2), settings)
    assert checkpoints.load_latest(training_folder(tmp_path)).step == 2


FULL_DISK = """
from lafs_pipeline.training.loading import loaded
from lafs_pipeline.training.sampling import StepBatches

class Samples:
    def __len__(self):
        return 8

    def __getitem__(self, draw):
        raise OSError(28, "No space left on device")

list(loaded(Samples(), StepBatches(8, 2, 1, 1, 0), 2, False))
"""


def test_a_loader_that_fails_in_any_way_ends_the_process():
    finished = subprocess.run(
        [sys.executable, "-c", FULL_DISK], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 1
    assert "No space left on device" in finished.stderr
