"""The benchmark on real faces, on drawn ones."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from benchmarks.real_faces.tasks import plan_tasks
from benchmarks.real_faces.workers import undone

from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE as TEMPLATE
from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.sources.synthetic.faces import draw_face

PROJECT = Path(__file__).parents[2]


def command(*words):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def draw(folder, people, each, first):
    for person in range(first, first + people):
        for image in range(each):
            path = folder / f"person_{person}" / f"person_{person}_{image + 1:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), draw_face(0, person, image).image[:, :, ::-1])


def test_what_needs_a_failed_task_is_not_waited_for(tmp_path):
    (tmp_path / "landmarks.error").touch()
    (tmp_path / "grid-s0.json").touch()
    (tmp_path / "grid-s1.claim").touch()
    left = {name for name, *_ in undone(plan_tasks(), tmp_path)}
    assert {"frozen-grid-s0", "adapt-grid-s0-2-0", "lafs_still-s0"} <= left
    assert not left & {"landmarks", "lafs-s0", "frozen-lafs-s0", "adapt-scratch-s0-2-0", "grid-s0", "grid-s1"}


@pytest.mark.slow
def test_every_arm_is_in_the_table(tmp_path):
    sets = {"some": (8, 4, 0), "few": (64, 12, 100), "people": (30, 16, 300), "lfw": (4, 2, 500)}
    for name, (people, each, first) in sets.items():
        draw(tmp_path / name, people, each, first)
    pairs = [f"person_{person}\t1\t2" for person in (500, 501)]
    pairs += [f"person_{person}\t1\tperson_{person + 1}\t2" for person in (500, 502)]
    (tmp_path / "pairs.txt").write_text("\n".join(["2\t1", pairs[0], pairs[2], pairs[1], pairs[3]]))
    faces = tmp_path / "faces"
    roots = ("--unlabeled", tmp_path / "some", "--labeled", tmp_path / "few", "--people", tmp_path / "people")
    command("benchmarks.real_faces", "pack", faces, *roots, "--lfw", tmp_path / "lfw", tmp_path / "pairs.txt")
    table = pd.read_parquet(faces / "faces.parquet")
    splits = table.groupby("split").size().to_dict()
    assert splits == {"train": 32 + 4 * 12, "development": 720, "people": 480, "lfw": 8}
    short = ("--epochs", 1, "--landmark-epochs", 1, "--steps", 1, "--workers", 0)
    for tasks in ("grid-s0", "frozen-lafs-s0"):
        command("benchmarks.real_faces", "run", faces, "--only", tasks, *short)
    results = {path.stem for path in (faces / "results").iterdir()}
    assert results == {"landmarks", "grid-s0", "lafs-s0", "frozen-lafs-s0"}
    scores = json.loads((faces / "results/frozen-lafs-s0.json").read_text())
    assert 0 < scores["development"]["accuracy"] < 1
    assert load_model(faces / "models/lafs-s0.safetensors").sizes["num_landmarks"] == 49
    assert "lafs-s0" in command("benchmarks.real_faces", "table", faces)


def write_annotated(folder, count):
    """Faces in 300-W's layout; what they show does not matter."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    shape = generator.uniform(20, 92, (68, 2))
    for part, point in zip((slice(36, 42), slice(42, 48), 30, 48, 54), TEMPLATE, strict=True):
        shape[part] = point
    for face in range(count):
        points = 2 * shape + generator.normal(0, 4, (68, 2)) + 30
        cv2.imwrite(str(folder / f"{face}.png"), generator.integers(0, 256, (300, 300, 3), np.uint8))
        lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in points + 1)
        (folder / f"{face}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


@pytest.mark.slow
def test_landmarks_of_zoomed_views(tmp_path):
    """A fresh network finds the same mesh in every view: only what is moved follows a zoom."""
    save_model(LandmarkNetwork(49, 0.25, "free"), tmp_path / "network.safetensors")
    write_annotated(tmp_path / "faces", 60)
    *_, zoomed = command(
        "benchmarks.view_landmarks", tmp_path / "network.safetensors", tmp_path / "faces"
    ).splitlines()
    seen, moved, *_ = (float(value) for value in re.findall(r"([\d.]+)%", zoomed))
    assert moved < 0.7 * seen
