"""A cataloging that is killed leaves what was there before, and is resumed where it was."""

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.waiting import until

from lafs_pipeline.cataloging.hashes import exact_hash
from lafs_pipeline.faces.dataset import FaceImages

WORKER = [sys.executable, "-m", "tests.pipelines.cataloging_worker"]


def whole(folder: Path) -> pd.DataFrame:
    """The saved manifest, after every image that it names was read and found to be the one that it means."""
    faces = pd.read_parquet(folder / "faces.parquet")
    images = FaceImages(faces)
    assert [exact_hash(images.encoded(row)) for row in range(len(faces))] == faces["exact_hash"].tolist()
    return faces


def stores(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in (folder / "stores").glob("[!.]*")}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cataloging")
    subprocess.run([*WORKER, folder, "12"], check=True)
    return folder, whole(folder)


@pytest.mark.parametrize("dataset", ["ingested", "overlap", "rejected", "faces"])
def test_killed_before_the_new_manifest_is_saved(first, dataset):
    folder, before = first
    killed = subprocess.run([*WORKER, folder, "13", dataset], check=False)
    assert killed.returncode == -signal.SIGKILL
    pd.testing.assert_frame_equal(whole(folder), before)
    assert {Path(store).name for store in before["store"]} < stores(folder).keys()


def test_killed_amid_the_images_and_resumed(first):
    folder, before = first
    there = len(stores(folder))
    with subprocess.Popen([*WORKER, folder, "150", "ingested"]) as worker:
        until(lambda: len(stores(folder)) > there + 9 or worker.poll() is not None)
        worker.kill()
    pd.testing.assert_frame_equal(whole(folder), before)
    half = stores(folder)
    subprocess.run([*WORKER, folder, "150"], check=True)
    after = whole(folder)
    assert len(after) == 600
    named = {Path(store).stem for store in after["store"]}
    kept = stores(folder)
    assert kept.keys() == {f"{stem}.{kind}" for stem in named for kind in ("rec", "idx", "parquet")}
    assert not list((folder / "stores").glob(".*"))
    done = {name for name in half if f"{Path(name).stem}.parquet" in half} & kept.keys()
    assert len(done) >= 9
    assert {name: half[name] for name in done} == {name: kept[name] for name in done}
