"""Metrics of trainings, read back and drawn."""

import json
import os

import numpy as np
import pytest
import torch

from lafs_pipeline.reporting.curves import MOST_POINTS, plot_metric, thin
from lafs_pipeline.reporting.history import read_histories
from lafs_pipeline.runtime.metric_loggers import JsonLinesLogger
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint

TRAINING = "pretrain/aaaaaaaaaaaa"


@pytest.fixture
def folder(tmp_path):
    logger = JsonLinesLogger(tmp_path / TRAINING / "metrics.jsonl")
    for step in range(1, 5):
        logger.log({"loss": 1 / step, "learning_rate": 0.1}, step, 8 * step)
    logger.log({"knn_accuracy": 0.25}, 4, 32)
    logger.log({"loss": float("nan")}, 5, 40)
    for step, width in ((2, 8), (5, 64)):
        configuration = {"seed": step, "settings": {"prototypes": width}}
        checkpoints.write(tmp_path / TRAINING, Checkpoint(step, {"w": torch.ones(1)}, {}, configuration))
    adaptation = tmp_path / "study/lafs-1shots-seed0/0123456789ab"
    adaptation.mkdir(parents=True)
    (adaptation / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    (tmp_path / "stage1").mkdir()
    return tmp_path


def test_curves_hold_what_was_logged_and_is_finite(folder):
    histories = read_histories(folder)
    assert list(histories) == ["pretrain"]
    steps, losses = histories["pretrain"].curve("loss")
    assert steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(losses, [1, 1 / 2, 1 / 3, 1 / 4])
    assert [part.tolist() for part in histories["pretrain"].curve("knn_accuracy")] == [[4], [0.25]]
    assert len(histories["pretrain"].curve("teacher_entropy")[0]) == 0


def test_lines_that_a_killed_training_left_are_skipped(folder):
    with (folder / TRAINING / "metrics.jsonl").open("a") as stream:
        stream.write('[1, 2]\n{"loss": 3}\n{"step": 6, "loss": 0.1}\n{"step": 7, "lo')
    assert read_histories(folder)["pretrain"].curve("loss")[0].tolist() == [1, 2, 3, 4, 6]


def test_the_configuration_is_that_of_the_newest_readable_checkpoint(folder):
    assert read_histories(folder)["pretrain"].configuration["settings"]["prototypes"] == 64
    newest = folder / TRAINING / "step-00000005/checkpoint.json"
    newest.write_text(newest.read_text().replace("64", "65"))
    assert read_histories(folder)["pretrain"].configuration["seed"] == 2
    (folder / "stage1/abcdefabcdef").mkdir()
    (folder / "stage1/abcdefabcdef/metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n")
    assert read_histories(folder)["stage1"].configuration == {}


def test_of_several_trainings_the_newest_or_the_one_that_made_the_model(folder):
    older = folder / TRAINING / "metrics.jsonl"
    for name in ("bbbbbbbbbbbb", "aaaaaaaaaaaa-2"):
        newer = folder / "pretrain" / name / "metrics.jsonl"
        newer.parent.mkdir()
        newer.write_text(f'{{"step": {len(name)}, "loss": 1.0}}\n')
        os.utime(newer, (older.stat().st_mtime + len(name),) * 2)

    def last_step(*preferred):
        return read_histories(folder, preferred)["pretrain"].curve("loss")[0].tolist()[-1]

    assert last_step() == len("aaaaaaaaaaaa-2")
    assert last_step("b" * 64, "c" * 64) == len("bbbbbbbbbbbb")
    assert last_step("a" * 64) == len("aaaaaaaaaaaa-2")


def test_no_folder_gives_no_histories(tmp_path):
    assert read_histories(tmp_path / "absent") == {}


def test_thinning_keeps_the_mean_and_the_order():
    values = np.arange(10 * MOST_POINTS, dtype=float)
    thinned = thin(values)
    assert len(thinned) == MOST_POINTS
    assert thinned.mean() == pytest.approx(values.mean())
    assert (np.diff(thinned) > 0).all()
    assert thin(values[:5]).tolist() == values[:5].tolist()


def test_a_plot_has_a_line_a_training_and_the_limit():
    curves = {"LAFS": (np.arange(3), np.ones(3)), "grid": (np.arange(1), np.zeros(1))}
    (axis,) = plot_metric(curves, "entropy", ("log K", 4.0)).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["LAFS", "grid", "log K"]
    assert axis.lines[2].get_ydata()[0] == 4.0
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines[:2]}) == 2
