"""What a user sees who gives something wrong: one message, and no data written."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.sources.synthetic.faces import draw_face

OF_TRACKING = {"mlflow.db", "mlflow_run.json"}
FOLDER = ("run", "--env", "folder", "--pipelines=cataloging")


def outcome(finished, data):
    """The error message, after checking that it is the last thing said and that no data was written."""
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("Error: ") == 1, finished.stderr
    assert "failed with error" not in finished.stdout
    written = [path for path in data.rglob("*") if path.is_file() and path.name not in OF_TRACKING]
    assert written == []
    return " ".join(finished.stderr.split("Error: ")[1].split())


def test_unknown_parameter(kedro, tmp_path):
    message = outcome(
        kedro(tmp_path, "run", "--env", "smoke", "--params", "pretrain.training.epoch=3"), tmp_path
    )
    assert "pretrain.training.epoch is unknown" in message
    assert "epochs, batch_size" in message


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("pretrian.training.epochs=2", "pretrian is unknown, the nearest is pretrain"),
        ("pretrain.views.local_landmarks=60", "local_landmarks is 60 and the model has 49"),
        (
            "pretrain.student_temperature=-1",
            "pretrain.student_temperature is -1: input should be greater than 0",
        ),
        ("pretrain.methods=[words]", "pretrain.methods.0 is 'words': input should be 'grid' or 'lafs'"),
        ("pretrain.tokens=grid", "pretrain.tokens is called methods now; rename it in conf/"),
        ("adapt.shots=0", "adapt.shots is 0: input should be greater than or equal to 1"),
    ],
)
def test_parameter_out_of_range(kedro, tmp_path, parameter, expected):
    message = outcome(kedro(tmp_path, "run", "--env", "smoke", "--params", parameter), tmp_path)
    assert expected in message


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--runner=ThreadRunner", "ThreadRunner runs nodes side by side"),
        ("--runner=ParallelRunner", "ParallelRunner runs nodes side by side"),
        ("--runner-params=is_async=True", "--async saves data sets in other threads"),
        ("--load-versions=faces:2026-01-01T00.00.00.000Z", "a version of faces, of which only the last is"),
        ("--params=paths.packed_faces=faces.rec", "paths.packed_faces gave way to the folder paths.stores"),
    ],
)
def test_what_would_not_do_what_it_says(kedro, tmp_path, option, expected):
    message = outcome(kedro(tmp_path, "run", "--env", "smoke", option), tmp_path)
    assert expected in message


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        ((), {"LAFS_DATA": "s3://bucket/faces"}, "the variable LAFS_DATA is s3://bucket/faces: it must be"),
        (
            (),
            {"LAFS_DATA": __file__},
            f"the variable LAFS_DATA names {__file__}, which is a file; name a folder",
        ),
        (("paths.checkpoints=gs://bucket/c",), {}, "parameter paths.checkpoints is gs://bucket/c: it must"),
        (("faces_folder=s3://bucket/faces",), {}, "`path` is s3://bucket/faces: it must be a local path"),
    ],
)
def test_a_place_on_another_file_system(kedro, tmp_path, options, variables, expected):
    given = [f"--params={option}" for option in options]
    message = outcome(kedro(tmp_path, *FOLDER, *given, **variables), tmp_path)
    assert expected in message


def test_results_of_another_environment(kedro, tmp_path, own_faces):
    made = kedro(tmp_path / "data", *FOLDER, **own_faces)
    assert made.returncode == 0, made.stderr[-3000:]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*") if path.is_file()}
    refused = kedro(tmp_path / "data", "run", "--env", "smoke")
    (message,) = refused.stderr.split("Error: ")[1:]
    message = " ".join(message.split())
    assert f"{tmp_path}/data holds results of the environment folder, and this run of smoke would" in message
    assert f"would replace {tmp_path}/data/02_intermediate/duplicates.parquet" in message
    left = {path: path.stat().st_mtime_ns for path in before if path.name not in OF_TRACKING}
    assert left.items() <= before.items()
    advised = re.search(r"LAFS_DATA=(\S+),", message)[1]
    followed = kedro(Path(advised), "run", "--env", "smoke", "--pipelines=cataloging")
    assert followed.returncode == 0, followed.stderr[-3000:]


@pytest.mark.parametrize("option", ["--pipelines=pretrain", "--pipeline=pretrain"])
def test_a_pipeline_before_the_one_it_needs(kedro, tmp_path, option):
    """With the option as people type it, too: when Kedro drops that, bound Kedro or change the documents."""
    message = outcome(kedro(tmp_path, "run", "--env", "smoke", option), tmp_path)
    assert "faces, landmark_network, landmarks are not there yet" in message
    assert "kedro run --pipelines=cataloging,landmarks" in message


@pytest.fixture
def own_faces(tmp_path):
    """A training folder of 4 x 3 images and a benchmark folder with pairs."""
    for folder, first in (("train", 0), ("bench", 10)):
        for person in range(first, first + 4):
            home = tmp_path / folder / f"person_{person}"
            home.mkdir(parents=True)
            for number in range(1, 4):
                image = draw_face(1, person, number).image
                cv2.imwrite(str(home / f"person_{person}_{number:04d}.jpg"), image[:, :, ::-1])
    same = "\n".join(f"person_{person}\t1\t2" for person in range(10, 12))
    different = "\n".join(f"person_{person}\t1\tperson_{person + 1}\t1" for person in range(10, 12))
    (tmp_path / "pairs.txt").write_text(f"1\t2\n{same}\n{different}\n")
    return {
        "LAFS_FACES": str(tmp_path / "train"),
        "LAFS_BENCHMARK": str(tmp_path / "bench"),
        "LAFS_PAIRS": str(tmp_path / "pairs.txt"),
    }


def test_missing_folder(kedro, tmp_path, own_faces):
    message = outcome(
        kedro(tmp_path / "data", *FOLDER, **own_faces | {"LAFS_FACES": "/no/such/folder"}), tmp_path / "data"
    )
    assert "/no/such/folder" in message


def test_folder_without_images(kedro, tmp_path, own_faces):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("no image")
    changed = own_faces | {"LAFS_FACES": str(tmp_path / "empty")}
    message = outcome(kedro(tmp_path / "data", *FOLDER, **changed), tmp_path / "data")
    assert str(tmp_path / "empty") in message


def test_a_single_identity(kedro, tmp_path, own_faces):
    (tmp_path / "one").mkdir()
    (tmp_path / "train/person_0").rename(tmp_path / "one/person_0")
    changed = own_faces | {"LAFS_FACES": str(tmp_path / "one")}
    message = outcome(kedro(tmp_path / "data", *FOLDER, **changed), tmp_path / "data")
    assert "identit" in message


def test_unreadable_images_are_listed_and_the_run_goes_on(kedro, tmp_path, own_faces):
    (tmp_path / "train/person_0/broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    whole = next((tmp_path / "train/person_1").glob("*.jpg"))
    (tmp_path / "train/person_1/cut.jpg").write_bytes(whole.read_bytes()[:200])
    cv2.imwrite(str(tmp_path / "train/person_2/tiny.png"), np.zeros((1, 1, 3), np.uint8))
    finished = kedro(tmp_path / "data", *FOLDER, **own_faces)
    assert finished.returncode == 0, finished.stderr[-3000:]
    rejected = pd.read_csv(tmp_path / "data/02_intermediate/rejected.csv")
    assert sorted(rejected["key"]) == [
        "faces/person_0/broken.jpg",
        "faces/person_1/cut.jpg",
        "faces/person_2/tiny.png",
    ]
    assert rejected["reason"].str.len().min() > 10
    faces = pd.read_parquet(tmp_path / "data/03_primary/faces.parquet")
    assert (faces["split"] == "train").sum() == 12
    pairs = pd.read_parquet(tmp_path / "data/05_model_input/pairs.parquet")
    assert pairs["is_same"].tolist() == [True, True, False, False]
    assert np.unique(faces.loc[faces["split"] == "pairs", "key"]).size >= 5
