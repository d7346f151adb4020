"""`lafs checkpoints`: what is listed, and that exactly what is named is deleted."""

import io
import os
import subprocess
import sys
import time

import pytest
import torch

from lafs_pipeline.commands.__main__ import main
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints import Checkpoint

A, B, C = "pretrain/aaaaaaaaaaaa", "pretrain/bbbbbbbbbbbb", "study/lafs-2shots-seed0/cccccccccccc"
HOUR = 3600


@pytest.fixture
def folder(tmp_path):
    """Two trainings of one stage, one of the study, and the checkpoints of an older version."""
    trainings = [(A, 8, 8, 0.1, 50), (B, 4, 16, 0.2, 3), (C, 2, 4, 0.1, 5)]
    for name, step, total, rate, hours in (*trainings, ("stage1", 1, 1, 0.1, 1)):
        configuration = {"total_steps": total, "settings": {"rate": rate}, "stage": name.partition("/")[0]}
        for done in (step // 2, step):
            path = checkpoints.write(
                tmp_path / name, Checkpoint(done, {"w": torch.ones(1000)}, {}, configuration)
            )
            os.utime(path, (time.time() - hours * HOUR,) * 2)
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "stage1/dddddddddddd/step-00000001").mkdir(parents=True)
    return tmp_path


def lines(printed):
    return {line.split()[0]: line for line in printed.splitlines()}


def left(folder):
    return {str(path.relative_to(folder).parent) for path in folder.rglob("step-*")}


def test_every_training_is_listed_with_what_tells_it_from_its_siblings(folder, capsys):
    assert main(["checkpoints", str(folder)]) == 0
    found = lines(capsys.readouterr().out)
    size = sum(path.stat().st_size for path in (folder / A).rglob("*") if path.is_file())
    assert found[A].split("  ")[0] == A
    for part in (f"{size / 1000:.3g} kB", "8 of 8", "2 days", "settings.rate=0.1, total_steps=8"):
        assert part in found[A]
    for part in ("4 of 16", "3 hours", "settings.rate=0.2, total_steps=16"):
        assert part in found[B]
    assert found[C].endswith("5 hours")
    assert "stage1" in found
    assert "stage=" not in found[A]


def test_only_what_is_named_is_deleted_after_it_was_shown_and_confirmed(folder, capsys, monkeypatch):
    before = left(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["checkpoints", str(folder), "--delete", A, C]) == 1
    said = capsys.readouterr().out
    assert {A, C} <= lines(said).keys()
    assert B not in said
    assert left(folder) == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["checkpoints", str(folder), "--delete", A, C]) == 0
    assert left(folder) == before - {A, C}
    assert not (folder / A).exists()
    assert (folder / B / "metrics.jsonl").exists()


def test_a_training_of_an_older_version_leaves_those_below_it(folder):
    assert main(["checkpoints", str(folder), "--delete", "stage1", "--yes"]) == 0
    assert left(folder) == {A, B, C, "stage1/dddddddddddd"}


def test_names_that_are_not_there_and_nobody_to_ask(folder, capsys, monkeypatch):
    before = left(folder)
    assert main(["checkpoints", str(folder), "--delete", A, "pretrain"]) == 1
    assert "holds no training pretrain; there are stage1, pretrain/aaaaaaaaaaaa," in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["checkpoints", str(folder), "--delete", A]) == 1
    assert "add --yes" in capsys.readouterr().err
    assert main(["checkpoints", str(folder / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert left(folder) == before


HOLD = """
import sys
from lafs_pipeline.runtime.files import held_alone
with held_alone(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_training_in_use_is_not_deleted_nor_others_with_it(folder, capsys):
    before = left(folder)
    command = [sys.executable, "-c", HOLD, folder / B]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert main(["checkpoints", str(folder), "--delete", A, B, "--yes"]) == 1
        holder.stdin.close()
    assert f"{folder / B} is in use by another training (process {holder.pid}" in capsys.readouterr().err
    assert left(folder) == before
    assert main(["checkpoints", str(folder), "--delete", A, B, "--yes"]) == 0
    assert left(folder) == before - {A, B}
