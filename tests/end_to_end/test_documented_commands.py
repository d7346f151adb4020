"""Every command of the documents, run as it stands there in a copy of the project of its own.

What a user puts in place of a name (FACES, FOLDER, an address) is replaced; all else comes
from the environment.
"""

import json
import re
import shutil
import time
import urllib.request
from pathlib import Path

import cv2
import pandas as pd
import pytest
import yaml
from tests.end_to_end.documents import PROJECT, documents
from tests.end_to_end.terminal import Command, copy_project
from tests.servers import free_port

from lafs_pipeline.faces.synthetic import draw_face
from lafs_pipeline.interop.official import save_part_fvit
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.runtime.launch_settings import ADDRESS

ACTIVATE = "source .venv/bin/activate"
LEAVES = {
    "kedro run": "08_reporting/report.html",
    "kedro run --params adapt.shots=4": "05_model_input/adapt_faces.parquet",
    "kedro run --pipelines=cataloging": "03_primary/faces.parquet",
    "kedro run --pipelines=landmarks": "06_models/landmark_network.safetensors",
    "kedro run --pipelines=pretrain": "06_models/lafs_backbone.safetensors",
    "kedro run --pipelines=adapt": "06_models/face_model_lafs.safetensors",
    "kedro run --pipelines=evaluate": "08_reporting/benchmarks.csv",
    "kedro run --pipelines=report": "08_reporting/report.html",
    "kedro run --pipelines=study": "08_reporting/study_table.csv",
    "kedro run --pipelines=export": "08_reporting/models/lafs/config.json",
}
"""Commands that run after the demo, and what they write anew in the data folder."""
TWO_PROCESSES = "kedro run --pipelines=pretrain --params launch.processes=2"
TWO_HOSTS = [
    "kedro run --pipelines=pretrain --params "
    f"launch.nodes=2,launch.node_rank={number},launch.rendezvous=10.0.0.1:29500"
    for number in (0, 1)
]
OWN_FACES = [
    "kedro run --env folder --params faces_folder=FACES,benchmark_folder=LFW,benchmark_pairs=LFW/pairs.txt",
    "kedro run --env folder",
]
OWN_STUDY = "kedro run --env folder --pipelines=study --params study.steps=200"
SERVERS = {"kedro viz run": "Kedro-Viz", "kedro mlflow ui": "MLflow"}
EMBED, COMPARE = "lafs embed FOLDER --model M", "lafs compare A B --model M"
RUN_HERE = {
    *("make demo", "make docs", ACTIVATE, EMBED, COMPARE, TWO_PROCESSES),
    *(*LEAVES, *TWO_HOSTS, *OWN_FACES, OWN_STUDY, *SERVERS),
}
BENCHMARKS, LAUNCH = "tests/benchmarks/test_pretrain_step.py", "tests/runtime/test_launch.py"
RUN_ELSEWHERE = {
    "make test": "Makefile: test",
    "make bench-gpu": f"{BENCHMARKS}: test_benchmarks_end_with_a_line_of_json",
    "make profile": f"{BENCHMARKS}: test_the_profile_is_written",
    **{
        f"python -m benchmarks.{name}": "Makefile: bench"
        for name in ("cataloguing", "evaluation", "loading", "pretrain_step", "startup", "views")
    },
    "srun kedro run --pipelines=pretrain": f"{LAUNCH}: test_the_tasks_of_a_slurm_step_are_taken_as_they_are",
    "srun torchrun --nnodes=2 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-endpoint=$MASTER_ADDR:29500 "
    "-m kedro run": f"{LAUNCH}: test_torchruns_processes_are_taken_as_they_are",
    **dict.fromkeys(ADDRESS.values(), f"{LAUNCH}: test_a_slurm_step_without_a_variable_is_refused"),
}
"""Commands that take hours, a cluster or this test itself, and the test or target that runs what they run."""


def test_every_command_is_run_by_a_test():
    """A new one belongs into a table above, and one that is gone out of it."""
    written = {command for page in documents() for command in page.commands()}
    assert not RUN_HERE & RUN_ELSEWHERE.keys()
    assert written == RUN_HERE | RUN_ELSEWHERE.keys()


@pytest.mark.parametrize(("command", "where"), RUN_ELSEWHERE.items())
def test_what_runs_elsewhere_does(command, where):
    file, name = where.split(": ")
    text = (PROJECT / file).read_text()
    if file != "Makefile":
        assert f"def {name}(" in text
        return
    recipe = re.search(rf"^{name}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]
    assert command == f"make {name}" or f"/{command}\n" in recipe


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project in which `smoke` and `folder` are shorter than they are."""
    home = tmp_path_factory.mktemp("project") / "lafs_pipeline"
    copy_project(home)
    for name in ("parameters", "parameters_landmarks", "parameters_pretrain", "parameters_adapt"):
        shutil.copy(home / f"conf/smoke/{name}.yml", home / f"conf/folder/{name}.yml")
    study = {"study": {"methods": ["scratch", "lafs"], "shots": [0], "seeds": [0]}}
    for name in ("smoke", "folder"):
        (home / f"conf/{name}/parameters_study.yml").write_text(yaml.safe_dump(study))
    (home / "conf/smoke/mlflow.yml").write_text(yaml.safe_dump({"ui": {"port": str(free_port())}}))
    return home


@pytest.fixture(scope="module")
def type_in(project):
    """Start a command in a terminal of the project."""
    started = []

    def start(command: str, **environment: str) -> Command:
        before = "" if command.startswith("make ") else f"{ACTIVATE} && "
        said = project.parent / f"terminal_{len(started)}.txt"
        started.append(Command(before + command, project, said, environment))
        return started[-1]

    yield start
    for command in started:
        command.stop()


def put_in(command, **values):
    """The command with values in place of names."""
    for name, value in values.items():
        command = re.sub(rf"\b{name}\b", str(value), command)
    return command


@pytest.fixture(scope="module")
def demo(project, type_in) -> Path:
    """The data folder after `make demo`."""
    assert "face_model" not in str(list((project / "data").rglob("*")))
    said = type_in("make demo").succeed()
    assert "accuracy" in said
    assert "kedro mlflow ui" in said
    return project / "data"


@pytest.fixture(scope="module")
def own_faces(tmp_path_factory) -> Path:
    """`faces/<identity>/*.jpg` and `lfw/<name>/<name>_0001.jpg` with `lfw/pairs.txt`, drawn."""
    home = tmp_path_factory.mktemp("own")
    for folder, people in (("faces", range(12)), ("lfw", range(20, 26))):
        for person in people:
            (home / folder / f"person_{person}").mkdir(parents=True)
            for number in range(1, 7):
                image = draw_face(1, person, number).image
                path = home / folder / f"person_{person}" / f"person_{person}_{number:04d}.jpg"
                cv2.imwrite(str(path), image[:, :, ::-1])
    same = [f"person_{person}\t{n}\t{n + 1}" for person in range(20, 26) for n in (1, 3)]
    other = [f"person_{20 + n % 6}\t{1 + n // 6}\tperson_{20 + (n + 1) % 6}\t2" for n in range(12)]
    (home / "lfw/pairs.txt").write_text("\n".join(["2\t6", *same[:6], *other[:6], *same[6:], *other[6:], ""]))
    return home


@pytest.mark.slow
@pytest.mark.parametrize("command", LEAVES)
def test_after_the_demo(demo, type_in, command):
    result = demo / LEAVES[command]
    started = time.time()
    type_in(command).succeed()
    assert result.stat().st_mtime > started - 1


def pretraining(data):
    """The metrics of a pretraining that is to be made anew, after removing the old one."""
    shutil.rmtree(data / "06_models/checkpoints/pretrain")
    return data / "06_models/checkpoints/pretrain/metrics.jsonl"


@pytest.mark.slow
def test_two_processes(demo, type_in):
    metrics = pretraining(demo)
    type_in(TWO_PROCESSES).succeed()
    assert json.loads(metrics.read_text().splitlines()[0])["loss"] > 0


@pytest.mark.slow
def test_two_hosts(demo, type_in):
    metrics, address = pretraining(demo), f"127.0.0.1:{free_port()}"
    hosts = [type_in(command.replace("10.0.0.1:29500", address)) for command in TWO_HOSTS]
    for host in hosts:
        host.succeed()
    assert json.loads(metrics.read_text().splitlines()[0])["loss"] > 0


@pytest.mark.slow
def test_own_faces_by_parameters_and_by_environment(type_in, own_faces, tmp_path):
    places = {"FACES": own_faces / "faces", "LFW": own_faces / "lfw"}
    by_parameters, by_environment = OWN_FACES
    said = type_in(put_in(by_parameters, **places), LAFS_DATA=str(tmp_path / "a")).succeed()
    assert "accuracy" in said
    environment = {
        **{"LAFS_DATA": str(tmp_path / "b"), "LAFS_FACES": str(places["FACES"])},
        **{"LAFS_BENCHMARK": str(places["LFW"]), "LAFS_PAIRS": str(places["LFW"] / "pairs.txt")},
    }
    type_in(by_environment, **environment).succeed()
    tables = [pd.read_csv(tmp_path / name / "08_reporting/benchmarks.csv") for name in "ab"]
    assert set(tables[0]["model"]) == {"stage1", "scratch", "lafs"}
    pd.testing.assert_frame_equal(*tables)
    faces = pd.read_parquet(tmp_path / "a/03_primary/faces.parquet")
    assert (faces["split"] == "train").sum() == 12 * 6
    type_in(OWN_STUDY, **environment).succeed()
    assert set(pd.read_csv(tmp_path / "b/08_reporting/study_table.csv")["method"]) == {"scratch", "lafs"}


@pytest.mark.slow
@pytest.mark.parametrize("command", SERVERS)
def test_servers(demo, type_in, command):
    """They say where they are, and show a page there."""
    server = type_in(command)
    address = None
    for _ in range(1200):
        found = re.findall(r"http://127\.0\.0\.1:\d+", server.said)
        address = address or (found[-1] if found else None)
        assert server.runs(), server.said[-3000:]
        if address and SERVERS[command] in page(address):
            break
        time.sleep(0.1)
    else:
        raise AssertionError(server.said[-3000:])
    server.stop()
    assert page(address) == ""


def page(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


@pytest.mark.slow
def test_models_are_used(demo, type_in, own_faces, project):
    type_in("kedro run --pipelines=export").succeed()
    model = demo / "08_reporting/models/lafs"
    folder = own_faces / "faces/person_3"
    said = type_in(put_in(EMBED, FOLDER=folder, M=model)).succeed()
    assert "6 faces embedded" in said
    assert len(pd.read_parquet(project / "embeddings.parquet")) == 6
    first, second, *_ = sorted(folder.iterdir())
    assert "cosine similarity" in type_in(put_in(COMPARE, A=first, B=second, M=model)).succeed()


@pytest.mark.slow
def test_the_python_of_the_documents(demo, type_in, project):
    """The block of the README, and after it what is written in a line."""
    type_in("kedro run --pipelines=export").succeed()
    save_part_fvit(build_model("part_fvit_tiny_patch8_112", {"depth": 1}), project / "checkpoint.pth")
    (readme,) = (page for page in documents() if page.name == "README.md")
    code = "\n".join(readme.python()).replace("FOLDER", str(demo / "08_reporting/models/lafs"))
    (project / "as_written.py").write_text(code)
    type_in("python as_written.py").succeed()


@pytest.mark.slow
def test_make_docs(project, type_in):
    """The pages that it writes are the committed ones."""
    before = {path.name: path.read_text() for path in (project / "docs/pipelines").iterdir()}
    for name in before:
        (project / "docs/pipelines" / name).unlink()
    type_in("make docs").succeed()
    assert {path.name: path.read_text() for path in (project / "docs/pipelines").iterdir()} == before
