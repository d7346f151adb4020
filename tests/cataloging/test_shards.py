"""Taking images in: broken off and gone on with, the result is the same and nothing is done twice."""

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.intake import FaceIntake
from lafs_pipeline.cataloging.planning import CatalogSettings, PlannedImages
from lafs_pipeline.cataloging.shards import ShardFolder
from lafs_pipeline.faces.decode import encode_jpeg
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.folder import FolderSource
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.recordio import RecordIOReader
from lafs_pipeline.sources.source import EncodedFace

COUNT = 50


def picture(number: int) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return encode_jpeg(np.kron(coarse, np.ones((16, 16, 1), np.uint8)))


class PowerCutError(Exception):
    pass


class Pictures:
    """A source that notes what is read, and fails for good at one image."""

    names_are_people = False

    def __init__(self, cut: int | None = None) -> None:
        self.cut = cut
        self.read_already: list[int] = []

    def __len__(self) -> int:
        return COUNT

    def key(self, index: int) -> str:
        return f"{index:03d}"

    def identity(self, index: int) -> str:
        return str(index % 5)

    def read(self, index: int) -> EncodedFace:
        if index == self.cut:
            raise PowerCutError
        self.read_already.append(index)
        if index % 17 == 3:
            raise LafsError("it cannot be read")
        return EncodedFace(picture(index))


def ingest(folder, source, threads=2, seed=0, labels=None, **options) -> pd.DataFrame:
    planned = PlannedImages(
        name="s",
        source=source,
        intake=FaceIntake(SourceSettings(aligned=True, **options)),
        identities=[source.identity(index) for index in range(COUNT)],
        splits=["train"] * COUNT,
        wanted=range(COUNT),
        merged=False,
        refused={7: "refused before"},
    )
    labels = labels or {f"s/{person}": person for person in range(5)}
    with tqdm(disable=True) as progress:
        shards = ShardFolder(folder, 20, seed).ingest(planned, labels, threads, progress)
        tables = [table for _, table in shards]
    assert [len(table) for table in tables] == [19, 20, 10]
    return pd.concat(tables, ignore_index=True)


def test_broken_off_and_gone_on_with(tmp_path):
    whole = ingest(tmp_path / "whole", Pictures())
    with pytest.raises(PowerCutError):
        ingest(tmp_path / "parts", Pictures(cut=33))
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == 1
    assert len(list((tmp_path / "parts").iterdir())) == 3
    rest = Pictures()
    again = ingest(tmp_path / "parts", rest, threads=1)
    assert sorted(rest.read_already) == list(range(20, COUNT))
    nothing = Pictures(cut=0)
    pd.testing.assert_frame_equal(ingest(tmp_path / "parts", nothing), again)
    assert nothing.read_already == []
    for table in (whole, again):
        table["store"] = table["store"].astype(str).str.rsplit("/", n=1).str[-1]
    pd.testing.assert_frame_equal(whole, again)
    assert whole["index"][whole["reason"].notna()].tolist() == [3, 20, 37]
    names = [path.name for path in (tmp_path / "whole").iterdir()]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "parts").iterdir())
    for name in names:
        if name.endswith((".rec", ".idx")):
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"channel_order": "bgr"}, {"seed": 1}, {"labels": {f"s/{person}": 4 - person for person in range(5)}}],
)
def test_what_decides_about_an_image_makes_another_shard(tmp_path, change):
    ingest(tmp_path, Pictures())
    again = Pictures()
    ingest(tmp_path, again, **change)
    assert sorted(again.read_already) == [index for index in range(COUNT) if index != 7]


def test_an_image_that_changed_makes_another_shard(tmp_path):
    folder = tmp_path / "faces"
    for index in range(COUNT):
        (folder / f"{index % 5}").mkdir(parents=True, exist_ok=True)
        (folder / f"{index % 5}/{index:03d}.jpg").write_bytes(picture(index))
    source = FolderSource(folder)
    first = ingest(tmp_path / "parts", source, path=str(folder))
    (folder / source.key(45)).write_bytes(picture(999))
    second = ingest(tmp_path / "parts", source, path=str(folder))
    changed = first["exact_hash"] != second["exact_hash"]
    assert first["index"][changed].tolist() == [45]
    assert (first["store"] == second["store"]).tolist() == [True] * 39 + [False] * 10


@pytest.fixture
def people(tmp_path):
    for number, (person, count) in enumerate({"Cy": 3, "Ann": 4, "Bo": 2}.items()):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for image in range(count):
            (tmp_path / "faces" / person / f"{image}.jpg").write_bytes(picture(10 * number + image))
    (tmp_path / "faces/loose.jpg").write_bytes(picture(77))
    return SourceSettings(path=str(tmp_path / "faces"), aligned=True)


@pytest.mark.parametrize("images", [1, 4, 100])
def test_shards_do_not_show_in_the_result(tmp_path, people, images):
    settings = CatalogSettings(sources={"s": people}, shard_images=images)
    found = catalog_faces(settings, 0, tmp_path / "out" / "faces.rec")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["faces.idx", "faces.rec"]
    assert found.manifest["store"].unique().tolist() == [str(tmp_path / "out" / "faces.rec")]
    reader = RecordIOReader(tmp_path / "out" / "faces.rec")
    assert found.manifest["record"].tolist() == reader.keys.tolist() == list(range(10))
    assert found.manifest["offset"].tolist() == reader.offsets.tolist()
    labels = [reader.read_labels(record)[0] for record in range(10)]
    assert labels == [0, 0, 0, 0, 1, 1, 2, 2, 2, -1]
    for row in found.manifest.itertuples():
        original = (tmp_path / "faces" / row.key.removeprefix("s/")).read_bytes()
        assert reader.read_image(row.record).encoded == original


def test_finished_shards_wait_for_the_next_try(tmp_path, people):
    packed = tmp_path / "out" / "faces.rec"
    catalog_faces(CatalogSettings(sources={"s": people}), 0, packed)
    before = packed.read_bytes()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/none.jpg").write_bytes(b"no image")
    bad = SourceSettings(path=str(tmp_path / "bad"), aligned=True)
    with pytest.raises(LafsError, match="'bad': all 1 images were rejected"):
        catalog_faces(CatalogSettings(sources={"s": people, "bad": bad}), 0, packed)
    assert packed.read_bytes() == before
    assert len(list((tmp_path / "out/faces.rec.parts").glob("*.parquet"))) == 2
    catalog_faces(CatalogSettings(sources={"s": people}), 0, packed)
    assert packed.read_bytes() == before
    assert not (tmp_path / "out/faces.rec.parts").exists()
