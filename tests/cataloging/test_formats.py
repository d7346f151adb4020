"""The same images in every format the field uses: the same manifest, and byte-identical training batches."""

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.sources.open import SourceSettings

IMAGES = 10
Faces = list[tuple[str, int, bytes]]


@pytest.fixture(scope="module", params=[200, pytest.param(2000, marks=pytest.mark.slow)])
def faces(request) -> Faces:
    """Name, identity and JPEG of as many images, grouped by identity."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (request.param, 6, 6, 3), dtype=np.uint8)
    people = range(100, 100 + request.param // IMAGES)
    names = [(f"{person}/{number:02d}.jpg", person) for person in people for number in range(IMAGES)]
    encoded = [cv2.imencode(".jpg", cv2.resize(image, (112, 112)))[1].tobytes() for image in coarse]
    return [(name, person, data) for (name, person), data in zip(names, encoded, strict=True)]


def as_folder(path: Path, faces: Faces) -> SourceSettings:
    for name, _, data in faces:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return SourceSettings(path=str(path), aligned=True)


def as_list(path: Path, faces: Faces) -> SourceSettings:
    as_folder(path, faces)
    (path / "list.txt").write_text("".join(f"{name} {person}\n" for name, person, _ in faces))
    return SourceSettings(kind="list", path=str(path / "list.txt"), aligned=True)


def write_records(path: Path, payloads: list[bytes]) -> SourceSettings:
    """RecordIO without the project's writer: these payloads hold no magic word."""
    records, index = b"", ""
    for key, payload in enumerate(payloads):
        index += f"{key}\t{len(records)}\n"
        records += struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)
    path.with_suffix(".rec").write_bytes(records)
    path.with_suffix(".idx").write_text(index)
    return SourceSettings(kind="recordio", path=str(path.with_suffix(".rec")), aligned=True)


def as_plain_recordio(path: Path, faces: Faces) -> SourceSettings:
    return write_records(path, [struct.pack("<IfQQ", 0, person, 0, 0) + data for _, person, data in faces])


def as_insightface_recordio(path: Path, faces: Faces) -> SourceSettings:
    first, people = 1 + len(faces), len(faces) // IMAGES
    header = struct.pack("<IfQQff", 2, 0, 0, 0, first, first + people)
    images = [
        struct.pack("<IfQQ", 0, person, key, 0) + data for key, (_, person, data) in enumerate(faces, 1)
    ]
    ranges = [
        struct.pack("<IfQQff", 2, 0, first + i, 0, 1 + i * IMAGES, 1 + (i + 1) * IMAGES)
        for i in range(people)
    ]
    return write_records(path, [header, *images, *ranges])


def as_recordio_without_index(path: Path, faces: Faces) -> SourceSettings:
    settings = as_insightface_recordio(path, faces)
    path.with_suffix(".idx").unlink()
    return settings


def as_recordio_shards(path: Path, faces: Faces) -> SourceSettings:
    for number, start in enumerate(range(0, len(faces), 70)):
        as_plain_recordio(Path(f"{path}-{number:03d}"), faces[start : start + 70])
    return SourceSettings(kind="recordio", path=f"{path}-*.rec", aligned=True)


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))


def as_tar_with_labels(path: Path, faces: Faces) -> SourceSettings:
    """WebDataset's names, labels turn about in `.cls` and `.json`, two shards."""
    path.mkdir()
    half = len(faces) // 2
    for number in range(2):
        with tarfile.open(path / f"{number:06d}.tar", "w") as shard:
            for index, (_, person, data) in list(enumerate(faces))[number * half : (number + 1) * half]:
                add(shard, f"{index:06d}.jpg", data)
                if index % 2:
                    add(shard, f"{index:06d}.cls", b"%d" % person)
                else:
                    add(shard, f"{index:06d}.json", json.dumps({"identity": person}).encode())
    return SourceSettings(kind="tar", path=str(path), aligned=True)


def as_tar_of_folders(path: Path, faces: Faces) -> SourceSettings:
    with tarfile.open(path, "w") as shard:
        for name, _, data in faces:
            add(shard, name, data)
    return SourceSettings(kind="tar", path=str(path), aligned=True)


def as_parquet(path: Path, faces: Faces) -> SourceSettings:
    names, people, encoded = zip(*faces, strict=True)
    table = pa.table({"name": names, "identity": people, "image": pa.array(encoded, pa.binary())})
    pq.write_table(table, path, row_group_size=300)
    return SourceSettings(kind="parquet", path=str(path), key_column="name", aligned=True)


def as_hugging_face(path: Path, faces: Faces) -> SourceSettings:
    rows = [{"image": {"bytes": data, "path": name}, "label": person} for name, person, data in faces]
    path.mkdir()
    half = len(faces) // 2
    for number in range(2):
        part = pa.Table.from_pylist(rows[number * half : (number + 1) * half])
        pq.write_table(part, path / f"train-{number:05d}-of-00002.parquet")
    return SourceSettings(kind="parquet", path=str(path), identity_column="label", aligned=True)


FORMATS = [
    as_list,
    as_plain_recordio,
    as_insightface_recordio,
    as_recordio_without_index,
    as_recordio_shards,
    as_tar_with_labels,
    as_tar_of_folders,
    as_parquet,
    as_hugging_face,
]


def catalog(settings: SourceSettings, folder: Path) -> pd.DataFrame:
    found = catalog_faces(CatalogSettings(sources={"faces": settings}), 0, folder / "faces.rec")
    assert found.rejected.empty
    return found.manifest


def batches(manifest: pd.DataFrame, workers: int) -> str:
    """Digest of all batches in an order that a seed fixes."""
    order = torch.Generator().manual_seed(7)
    loader = DataLoader(FaceImages(manifest), 64, shuffle=True, num_workers=workers, generator=order)
    digest = hashlib.sha256()
    for batch in loader:
        assert batch.dtype == torch.uint8
        digest.update(batch.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def reference(faces, tmp_path_factory) -> tuple[pd.DataFrame, str]:
    path = tmp_path_factory.mktemp("folder")
    manifest = catalog(as_folder(path / "faces", faces), path / "out")
    for row, (name, person, data) in zip(manifest.itertuples(), faces, strict=True):
        assert (row.key, row.identity) == (f"faces/{name}", f"faces/{person}")
        if row.Index % 100 == 0:
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            np.testing.assert_array_equal(FaceImages(manifest)[row.Index], expected)
    alone, shared = batches(manifest, 0), batches(manifest, 2)
    assert alone == shared
    return manifest, alone


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_same_manifest_and_same_batches(write, faces, reference, tmp_path):
    manifest = catalog(write(tmp_path / "faces", faces), tmp_path / "out")
    where = ["key", "source", "store", "record", "offset"]
    pd.testing.assert_frame_equal(
        manifest.drop(columns=where, errors="ignore"), reference[0].drop(columns=where, errors="ignore")
    )
    assert batches(manifest, 0) == reference[1]
    assert batches(manifest, 2) == reference[1]
