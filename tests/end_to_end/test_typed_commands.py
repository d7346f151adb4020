"""Every command of the documents, run as it stands there in a copy of the project of its own.

What a user puts in place of a name (FACES, FOLDER, an address) is replaced; all else comes
from the environment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import cv2
import pandas as pd
import pytest
import yaml
from tests.end_to_end.command_tables import (
    ACTIVATE,
    COMPARE,
    ELSEWHERE,
    EMBED,
    LEAVES,
    MISSING,
    OWN_FACES,
    OWN_FILE,
    OWN_STUDY,
    PACKAGE,
    SERVERS,
    TWO_HOSTS,
    TWO_PROCESSES,
)
from tests.end_to_end.documents import documents
from tests.end_to_end.terminal import Command, copy_project
from tests.servers import free_port

from lafs_pipeline.interop.official import save_part_fvit
from lafs_pipeline.models.part_fvit import build_model
from lafs_pipeline.sources.synthetic.faces import draw_face


def test_kedro_still_has_the_option_that_users_type(project, type_in):
    """Kedro 1.7 calls `--pipeline` deprecated; when it goes, bound Kedro or change the documents."""
    said = type_in("kedro run --help").succeed()
    assert "--pipeline TEXT" in said
    assert "--pipelines TEXT" in said


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


@pytest.mark.slow
def test_the_names_of_the_pipelines(type_in):
    said = type_in("kedro registry list").succeed()
    assert {"pretrain", "study", "export"} <= set(re.findall(r"^- (\w+)$", said, re.MULTILINE))


@pytest.mark.slow
def test_what_is_missing_is_made_again(demo, type_in):
    """And nothing else: the figures that need verification results need those again."""
    table, report = demo / "08_reporting/benchmarks.csv", demo / "08_reporting/report.html"
    written = table.stat().st_mtime_ns
    report.unlink()
    type_in(MISSING).succeed()
    assert report.exists()
    assert table.stat().st_mtime_ns == written


@pytest.mark.slow
def test_lists_in_a_file(demo, type_in, project):
    """The file is the one of the page, in which the study is shorter."""
    (kedro,) = (page for page in documents() if page.name == "docs/kedro.md")
    (block,) = (text for language, text in kedro.blocks if language == "yaml")
    given = yaml.safe_load(block)
    given["run"]["params"]["study"]["shots"] = [0]
    (project / "study.yml").write_text(yaml.safe_dump(given))
    type_in(OWN_FILE).succeed()
    runs = pd.read_parquet(demo / "07_model_output/study_runs.parquet")
    study = given["run"]["params"]["study"]
    assert {name: sorted(runs[name[:-1]].unique()) for name in ("methods", "seeds")} == {
        name: sorted(study[name]) for name in ("methods", "seeds")
    }


@pytest.fixture(scope="module")
def packaged(project, type_in, tmp_path_factory) -> Path:
    """A folder with the configuration and a Python in which the wheel is installed, without the project."""
    type_in(PACKAGE).succeed()
    home = tmp_path_factory.mktemp("elsewhere")
    venv.create(home / "venv", with_pip=True)
    (site,) = (home / "venv/lib").glob("python*/site-packages")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in packages]
    (site / "packages.pth").write_text("\n".join(lines))
    (wheel,) = (project / "dist").glob("*.whl")
    install = [home / "venv/bin/python", "-m", "pip", "install", "--no-deps", "--ignore-installed", wheel]
    subprocess.run(install, check=True, capture_output=True)
    archive = project / "dist/conf-lafs_pipeline.tar.gz"
    shutil.copy(archive, home)
    shutil.unpack_archive(archive, home, filter="data")
    return home


@pytest.mark.slow
def test_the_wheel_runs_elsewhere(packaged):
    """With the configuration packed, then unpacked and a stage alone; everything lies where it ran."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAFS_", "MLFLOW_"))}
    kept |= {"KEDRO_ENV": "smoke", "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    kept.pop("PYTHONPATH", None)
    for command in ELSEWHERE:
        finished = subprocess.run(
            [packaged / "venv/bin" / command.split()[0], *command.split()[1:]],
            **{"cwd": packaged, "env": kept, "capture_output": True, "text": True, "check": False},
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
    assert (packaged / "data/08_reporting/report.html").exists()
    assert (packaged / "mlflow.db").exists()
    where = [packaged / "venv/bin/python", "-c", "import lafs_pipeline; print(lafs_pipeline.__file__)"]
    found = subprocess.run(where, env=kept, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(packaged)


def without_pretraining(data):
    """The folder of pretrainings, after removing the old ones so that one is made anew."""
    shutil.rmtree(data / "06_models/checkpoints/pretrain_lafs")
    return data / "06_models/checkpoints/pretrain_lafs"


def first_line(folder):
    """Of the metrics of the one training in a folder."""
    (path,) = folder.glob("*/metrics.jsonl")
    return json.loads(path.read_text().splitlines()[0])


@pytest.mark.slow
def test_two_processes(demo, type_in):
    folder = without_pretraining(demo)
    type_in(TWO_PROCESSES).succeed()
    assert first_line(folder)["loss"] > 0


@pytest.mark.slow
def test_two_hosts(demo, type_in):
    folder, address = without_pretraining(demo), f"127.0.0.1:{free_port()}"
    hosts = [type_in(command.replace("10.0.0.1:29500", address)) for command in TWO_HOSTS]
    for host in hosts:
        host.succeed()
    assert first_line(folder)["loss"] > 0


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
    assert set(tables[0]["model"]) == {"stage1", "scratch", "grid", "lafs"}
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
    type_in("kedro run --pipeline=export").succeed()
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
    type_in("kedro run --pipeline=export").succeed()
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
    assert (project / "site/index.html").exists()
    assert {path.name: path.read_text() for path in (project / "docs/pipelines").iterdir()} == before
