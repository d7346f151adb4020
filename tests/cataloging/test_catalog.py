"""Cataloging: every image once, in the right split, found again byte for byte."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.cataloging.folders import catalog, face, folder, make_folder

from lafs_pipeline.cataloging.hashes import exact_hash, perceptual_hash
from lafs_pipeline.faces.alignment import ARCFACE_TEMPLATE
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.decode import decode_image
from lafs_pipeline.faces.manifest import MANIFEST_TYPES, manifest_points
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.sources.recordio import RecordIOWriter


def test_aligned_files_are_stored_as_they_are(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 2, "Bo": 1})
    found = catalog(tmp_path, {"mine": folder(path)})
    assert list(found.manifest.columns) == list(MANIFEST_TYPES)
    assert found.manifest["key"].tolist() == [
        "mine/Ann/Ann_0001.png",
        "mine/Ann/Ann_0002.png",
        "mine/Bo/Bo_0001.png",
    ]
    assert found.manifest["identity"].tolist() == ["mine/Ann", "mine/Ann", "mine/Bo"]
    assert set(found.manifest["split"]) == {"train"}
    assert manifest_points(found.manifest).shape == (3, 5, 2)
    assert found.rejected.empty
    assert found.pairs.empty
    images = FaceImages(found.manifest)
    for row, key in enumerate(found.manifest["key"]):
        assert images.encoded(row) == (path / key.removeprefix("mine/")).read_bytes()


def test_the_manifest_survives_parquet(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 2, "Bo": 1})
    manifest = catalog(tmp_path, {"mine": folder(path, labeled=False)}).manifest
    manifest.to_parquet(tmp_path / "manifest.parquet")
    back = pd.read_parquet(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(back, manifest)
    assert back["identity"].isna().all()


def test_recordio_is_read_in_place_and_odd_sizes_are_stored(tmp_path):
    with RecordIOWriter(tmp_path / "train.rec") as writer:
        for key, (size, label) in enumerate([(112, 4), (56, 4), (112, 9)]):
            writer.write_image(key, face(key, size), label)
    source = SourceSettings(
        kind="recordio", path=str(tmp_path / "train.rec"), aligned=True, channel_order="bgr"
    )
    found = catalog(tmp_path, {"ms1m": source}).manifest
    assert found["identity"].tolist() == ["ms1m/4", "ms1m/4", "ms1m/9"]
    stores = [Path(store) for store in found["store"]]
    assert (stores[0], stores[1].parent, stores[2]) == (
        tmp_path / "train.rec",
        tmp_path / "out/stores",
        tmp_path / "train.rec",
    )
    assert found["record"].tolist() == [0, 0, 2]
    assert found["channel_order"].tolist() == ["bgr", "rgb", "bgr"]
    images = FaceImages(found)
    np.testing.assert_array_equal(images[2], decode_image(face(2))[..., ::-1])
    enlarged = cv2.resize(decode_image(face(1, 56))[..., ::-1], (112, 112))
    assert np.abs(images[1].astype(int) - enlarged).mean() < 4


def test_faces_are_aligned_by_given_points(tmp_path):
    make_folder(tmp_path / "faces", {"Ann": 1, "Bo": 1}, size=224)
    rows = [
        ["Ann/Ann_0001.png", *(ARCFACE_TEMPLATE * 2 + 0.5).ravel()],
        ["Bo/Bo_0001.png", *(ARCFACE_TEMPLATE + 100).ravel()],
    ]
    names = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
    pd.DataFrame(rows, columns=["file", *names]).to_csv(tmp_path / "points.csv", index=False)
    points = str(tmp_path / "points.csv")
    found = catalog(tmp_path, {"mine": folder(tmp_path / "faces", aligned=False, points=points)}).manifest
    np.testing.assert_allclose(manifest_points(found), np.stack([ARCFACE_TEMPLATE] * 2), atol=1e-3)
    images = FaceImages(found)
    halved = cv2.resize(decode_image(face(1, 224)), (112, 112), interpolation=cv2.INTER_LINEAR)
    assert np.abs(images[0].astype(int) - halved).mean() < 3
    corner = decode_image(face(1001, 224))[100:212, 100:212]
    assert np.abs(images[1].astype(int) - corner).mean() < 3


def test_unusable_images_are_listed_and_the_rest_goes_on(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 3, "Bo": 2})
    (path / "Ann" / "Ann_0002.png").write_bytes(face(0)[:200])
    (path / "Bo" / "wide.png").write_bytes(face(0))
    Image.new("RGB", (92, 112)).save(path / "Bo" / "wide.png")
    found = catalog(tmp_path, {"mine": folder(path)})
    assert len(found.manifest) == 4
    assert found.rejected["key"].tolist() == ["mine/Ann/Ann_0002.png", "mine/Bo/wide.png"]
    assert found.rejected["reason"].str.contains("damaged|must be square").all()


def test_sizes_and_hashes(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 1, "Bo": 1})
    (path / "Bo/large.png").write_bytes(face(5, 200))
    (path / "Bo/flat.png").write_bytes(b"")
    Image.new("RGB", (112, 112), (9, 80, 200)).save(path / "Bo/flat.png")
    found = catalog(tmp_path, {"mine": folder(path)}).manifest.set_index("key")
    assert found["width"].tolist() == found["height"].tolist() == [112, 112, 112, 200]
    assert found["exact_hash"]["mine/Ann/Ann_0001.png"] == exact_hash(face(1))
    assert found["perceptual_hash"].isna().tolist() == [False, False, True, False]
    assert found["perceptual_hash"]["mine/Ann/Ann_0001.png"] == perceptual_hash(decode_image(face(1)))
    again = catalog(tmp_path, {"mine": folder(path)}, threads=1, shard_images=2).manifest.set_index("key")
    place = ["store", "record", "offset"]
    pd.testing.assert_frame_equal(again.drop(columns=place), found.drop(columns=place))


def test_a_photograph_lying_on_its_side(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 1, "Bo": 1}, size=224)
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(photograph).save(path / "Ann/side.jpg", exif=exif)
    rows = [[f"{p}/{p}_0001.png", *(ARCFACE_TEMPLATE * 2).ravel()] for p in ("Ann", "Bo")]
    rows.append(["Ann/side.jpg", *(ARCFACE_TEMPLATE / 4).ravel()])
    names = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
    pd.DataFrame(rows, columns=["file", *names]).to_csv(tmp_path / "points.csv", index=False)
    source = folder(path, aligned=False, points=str(tmp_path / "points.csv"))
    found = catalog(tmp_path, {"mine": source}).manifest
    assert found[["width", "height"]].to_numpy().tolist() == [[224, 224], [30, 50], [224, 224]]


@pytest.mark.parametrize(("identities", "people"), [("apart", 4), ("merged", 3)])
def test_people_of_several_sources(tmp_path, identities, people):
    first = make_folder(tmp_path / "first", {"Ann": 2, "Bo": 1})
    second = make_folder(tmp_path / "second", {"Bo": 2, "Cy": 1}, 50_000)
    sources = {"one": folder(first), "two": folder(second)}
    found = catalog(tmp_path, sources, identities=identities)
    assert found.manifest["identity"].nunique() == people
    names = found.manifest["identity"].tolist()
    assert (names[2] == names[3]) == (identities == "merged")


def test_damaged_records_are_listed(tmp_path):
    path = tmp_path / "train.rec"
    with RecordIOWriter(path) as writer:
        for key in range(4):
            writer.write_image(key, face(key), key)
    data = bytearray(path.read_bytes())
    data[int(path.with_suffix(".idx").read_text().split()[5])] = 0
    path.write_bytes(data)
    source = SourceSettings(kind="recordio", path=str(path), aligned=True)
    found = catalog(tmp_path, {"ms1m": source})
    assert found.manifest["record"].tolist() == [0, 1, 3]
    assert found.rejected["key"].tolist() == ["ms1m/2"]
    assert "record 2 is damaged" in found.rejected["reason"][0]


def test_synthetic_faces_need_no_settings(tmp_path):
    sources = {"drawn": SourceSettings(kind="synthetic", identities=5, images_per_identity=3)}
    benchmarks = {"held": BenchmarkSettings(source="drawn", identities=2, pairs=8, folds=2)}
    found = catalog(tmp_path, sources, benchmarks, threads=1)
    assert found.manifest["split"].value_counts().to_dict() == {"train": 9, "held": 6}
    assert np.isfinite(manifest_points(found.manifest)).all()
    again = catalog(tmp_path, sources, benchmarks, threads=3)
    pd.testing.assert_frame_equal(found.manifest, again.manifest)
    pd.testing.assert_frame_equal(found.pairs, again.pairs)


def test_a_source_without_one_usable_image(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 2, "Bo": 2})
    for file in path.glob("*/*"):
        file.write_bytes(b"not an image")
    with pytest.raises(
        LafsError, match=r"'mine': all 4 images were rejected, 4 as mine/Ann/Ann_0001\.png: it is not"
    ):
        catalog(tmp_path, {"mine": folder(path)})


def test_nothing_to_do(tmp_path):
    with pytest.raises(LafsError, match="nothing to catalog"):
        catalog(tmp_path, {})


def test_real_faces_are_detected_and_aligned(tmp_path, shared_dir):
    source = SourceSettings(
        path=str(shared_dir / "faces/orl_att"), detector=str(shared_dir / "models/yunet_n_320_320.onnx")
    )
    found = catalog(tmp_path, {"orl": source})
    assert len(found.manifest) >= 395
    assert found.manifest["identity"].nunique() == 40
    assert found.manifest["score"].between(0.6, 1).all()
    error = np.linalg.norm(manifest_points(found.manifest) - ARCFACE_TEMPLATE, axis=2)
    assert np.median(error) < 3
