"""Runs over folders of one's own whose faces have no labels, or few."""

import pandas as pd
import pytest

from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.sources.synthetic.faces import draw_face

QUICK = (
    "landmarks.warps.training.epochs=1,pretrain.training.epochs=2,pretrain.prototypes=64,evaluate.workers=0,"
    "landmark_quality.faces=16,adapt.recognition.training.epochs=1"
)
FROZEN = ["scratch_frozen", "grid_frozen", "lafs_frozen"]
PEOPLE, UNLABELED, LABELED = 6, 96, 16

pytestmark = pytest.mark.slow


def write_face(path, person, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(draw_face(5, person, number).image))


def few_people(folder):
    for number in range(LABELED):
        write_face(folder / f"person{number // 4}" / f"{number % 4}.jpg", 100 + number // 4, number)


@pytest.fixture
def loose(tmp_path):
    """Images beside each other."""
    for number in range(UNLABELED):
        write_face(tmp_path / "loose" / f"{number}.jpg", number // 2, number)
    return tmp_path / "loose"


@pytest.fixture
def benchmark(tmp_path):
    """Parameters that name pairs in LFW's layout."""
    names = [f"p{person}" for person in range(PEOPLE)]
    for person, name in enumerate(names):
        for number in range(1, 4):
            write_face(tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg", 200 + person, number)
    fold = [f"{name}\t1\t{number}" for name in names for number in (2, 3)]
    fold += [f"{names[p]}\t{n}\t{names[p - 1]}\t{n}" for p in range(PEOPLE) for n in (1, 2)]
    (tmp_path / "lfw/pairs.txt").write_text("\n".join(["2\t12", *fold, *fold]))
    return f"benchmark_folder={tmp_path}/lfw,benchmark_pairs={tmp_path}/lfw/pairs.txt"


@pytest.fixture
def run(kedro, tmp_path):
    """Run the environment `folder`; returns what it says, on one line, and its data folder."""

    def finished(*parameters, **environment):
        data = tmp_path / "data"
        found = kedro(
            data, "run", "--env", "folder", "--params", ",".join([*parameters, QUICK]), **environment
        )
        assert found.returncode == 0, found.stderr[-3000:] + found.stdout[-3000:]
        return " ".join(found.stdout.split()), data

    return finished


def test_faces_alone_end_with_the_backbones(run, loose):
    said, data = run(LAFS_FACES=str(loose))
    assert "No training face has a label: nothing was adapted" in said
    assert "Nothing was scored: no benchmark is named" in said
    assert {path.stem for path in (data / "06_models/backbones").iterdir()} == {"scratch", "grid", "lafs"}
    assert not list((data / "06_models/face_models").iterdir())
    assert "Nothing was scored" in (data / "08_reporting/report.html").read_text(encoding="utf-8")


def test_without_labels_backbones_are_scored_as_they_are(run, loose, benchmark):
    said, data = run(f"faces_folder={loose}", benchmark)
    table = pd.read_csv(data / "08_reporting/benchmarks.csv")
    assert table["model"].unique().tolist() == FROZEN
    assert "LAFS (frozen) " in said
    assert ", without adaptation, 2 pretraining steps: " in said
    assert (data / "08_reporting/attention_maps.png").exists()


def test_a_few_labeled_people(run, loose, benchmark, tmp_path):
    few_people(tmp_path / "few")
    said, data = run(f"faces_folder={loose}", f"labeled_folder={tmp_path}/few", benchmark)
    check(said, data, {"faces": UNLABELED, "labeled": LABELED})


def test_a_few_people_beside_loose_images(run, loose, benchmark):
    few_people(loose)
    said, data = run(f"faces_folder={loose}", benchmark)
    check(said, data, {"faces": UNLABELED + LABELED})


def check(said, data, sources):
    """All faces have pretrained, and those with a label have adapted every backbone."""
    faces = pd.read_parquet(data / "03_primary/faces.parquet")
    train = faces[faces["split"] == "train"]
    assert train["source"].astype(str).value_counts().to_dict() == sources
    assert train["identity"].notna().sum() == LABELED
    adapted = pd.read_parquet(data / "05_model_input/adapt_faces.parquet")
    assert adapted["identity"].value_counts().tolist() == [4] * 4
    table = pd.read_csv(data / "08_reporting/benchmarks.csv")
    assert table["model"].unique().tolist() == ["scratch", "grid", "lafs", *FROZEN]
    assert "against scratch " in said
    assert ", 4 images per identity, 2 pretraining steps: " in said
