"""Cataloging benchmarks: their pairs, and settings that cannot be."""

import pickle
from dataclasses import replace

import pytest
from tests.cataloging.folders import catalog, face, folder, make_folder

from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.sources.open import SourceSettings


def test_held_out_identities_leave_training(tmp_path):
    path = make_folder(tmp_path / "faces", {f"p{number:02d}": 4 for number in range(12)})
    other = make_folder(tmp_path / "other", {f"p{number:02d}": 1 for number in range(14)}, 50_000)
    benchmark = BenchmarkSettings(source="mine", identities=0.25, pairs=20, folds=2)
    found = catalog(tmp_path, {"mine": folder(path), "other": folder(other)}, {"held": benchmark})
    held = found.manifest[found.manifest["split"] == "held"]
    train = found.manifest[found.manifest["split"] == "train"]
    assert held["identity"].nunique() == 3
    assert len(held) == 12
    assert len(train) == 9 * 4 + 11
    names = {identity.split("/")[1] for identity in held["identity"]}
    assert names.isdisjoint(identity.split("/")[1] for identity in train["identity"])
    assert sorted(found.rejected["key"]) == sorted(f"other/{name}/{name}_0001.png" for name in names)
    assert found.rejected["reason"].str.contains("also belongs to benchmark 'held'").all()
    identity = held.set_index("key")["identity"]
    same = identity[found.pairs["key_a"]].to_numpy() == identity[found.pairs["key_b"]].to_numpy()
    assert same.tolist() == found.pairs["is_same"].tolist()
    assert found.pairs.groupby("fold")["is_same"].agg(["size", "sum"]).to_numpy().tolist() == [[10, 5]] * 2
    assert found.pairs["pair"].tolist() == list(range(20))


def test_pairs_txt_benchmark(tmp_path):
    train = make_folder(tmp_path / "train", {"Ann": 2, "Bo": 2, "Cy": 2})
    bench = make_folder(tmp_path / "bench", {"Ann": 3, "Di": 2, "Ed": 1}, 50_000)
    (tmp_path / "pairs.txt").write_text("2\t1\nAnn\t1\t3\nAnn\t1\tDi\t2\nDi\t1\t2\nDi\t1\tAnn\t3\n")
    benchmark = BenchmarkSettings(
        kind="pairs_txt",
        path=str(bench),
        pairs_file=str(tmp_path / "pairs.txt"),
        extension=".png",
        aligned=True,
    )
    found = catalog(tmp_path, {"mine": folder(train)}, {"mini": benchmark})
    members = found.manifest[found.manifest["split"] == "mini"]
    assert [key.split("/")[-1] for key in members["key"]] == [
        "Ann_0001.png",
        "Ann_0003.png",
        "Di_0001.png",
        "Di_0002.png",
    ]
    assert set(found.manifest["identity"][found.manifest["split"] == "train"]) == {"mine/Bo", "mine/Cy"}
    assert found.pairs[["key_b", "is_same", "fold"]].to_numpy().tolist() == [
        ["mini/Ann/Ann_0003.png", True, 0],
        ["mini/Di/Di_0002.png", False, 0],
        ["mini/Di/Di_0002.png", True, 1],
        ["mini/Ann/Ann_0003.png", False, 1],
    ]
    (bench / "Di" / "Di_0002.png").unlink()
    with pytest.raises(
        LafsError, match=r"1 images named in .*pairs\.txt are not in .*bench: Di/Di_0002\.png"
    ):
        catalog(tmp_path, {"mine": folder(train)}, {"mini": benchmark})


def test_bin_benchmark_and_pairs_with_damaged_images(tmp_path):
    images = [face(number) for number in range(8)]
    images[5] = images[5][:100]
    (tmp_path / "set.bin").write_bytes(pickle.dumps((images, [True, False, True, False])))
    benchmark = BenchmarkSettings(kind="bin", path=str(tmp_path / "set.bin"), folds=2)
    found = catalog(tmp_path, {}, {"set": benchmark})
    assert found.manifest["identity"].isna().all()
    assert found.rejected["key"].tolist() == ["set/000005"]
    assert found.pairs[["pair", "key_a", "key_b", "fold"]].to_numpy().tolist() == [
        [0, "set/000000", "set/000001", 0],
        [1, "set/000002", "set/000003", 0],
        [3, "set/000006", "set/000007", 1],
    ]


@pytest.mark.parametrize(
    ("people", "options", "benchmarks", "message"),
    [
        ({"Ann": 3}, {}, {}, "all of one identity, mine/Ann"),
        ({"Ann": 3}, {}, {"held": BenchmarkSettings(source="mine", pairs=2, folds=1)}, "which has 1"),
        (
            {"A": 1, "B": 1, "C": 1},
            {},
            {"h": BenchmarkSettings(source="mine", identities=2)},
            "same-identity pairs",
        ),
        ({"Ann": 1, "Bo": 1}, {}, {"held": BenchmarkSettings(source="yours")}, "no source 'yours'"),
        ({"Ann": 1, "Bo": 1}, {}, {"mine": BenchmarkSettings(source="mine")}, "share the name"),
        ({"Ann": 1, "Bo": 1}, {}, {"train": BenchmarkSettings(source="mine")}, "cannot be called 'train'"),
        ({"Ann": 1, "Bo": 1}, {}, {"set": BenchmarkSettings(kind="bin")}, "`path` is not set"),
        ({"Ann": 1, "Bo": 1}, {"aligned": False}, {}, "Source 'mine': its faces are not aligned"),
        ({"Ann": 1, "Bo": 1}, {"aligned": False, "detector": "no.onnx"}, {}, r"no\.onnx does not exist"),
    ],
)
def test_bad_settings_leave_nothing(tmp_path, people, options, benchmarks, message):
    path = make_folder(tmp_path / "faces", people)
    with pytest.raises(LafsError, match=message):
        catalog(tmp_path, {"mine": folder(path, **options)}, benchmarks)
    assert not (tmp_path / "out").exists()


def test_what_is_optional_is_left_out_where_nothing_is_named(tmp_path):
    path = make_folder(tmp_path / "faces", {"Ann": 2, "Bo": 2})
    sources = {"mine": folder(path), "few": SourceSettings(optional=True)}
    pairs = BenchmarkSettings(kind="pairs_txt", optional=True)
    found = catalog(tmp_path, sources, {"pairs": pairs})
    assert found.manifest["source"].unique().tolist() == ["mine"]
    assert found.protocols.empty
    with pytest.raises(LafsError, match="Benchmark 'pairs': `pairs_file` is not set"):
        catalog(tmp_path, sources, {"pairs": replace(pairs, path=str(path))})
    with pytest.raises(LafsError, match="Source 'few': `path` is not set"):
        catalog(tmp_path, {"few": SourceSettings(aligned=True)})


def test_pairs_of_one_fold_are_cut_and_what_no_evaluation_could_use_is_refused(tmp_path):
    images = make_folder(tmp_path / "bench", {"Ann": 3, "Bo": 3})
    own = make_folder(tmp_path / "faces", {"Cy": 2, "Di": 2}, first_seed=50_000)
    listed = tmp_path / "pairs.txt"
    benchmark = BenchmarkSettings(
        kind="pairs_txt", path=str(images), pairs_file=str(listed), extension=".png", aligned=True
    )
    listed.write_text("1\t2\nAnn\t1\t2\nBo\t1\t2\nAnn\t1\tBo\t1\nAnn\t2\tBo\t2\n")
    pairs = catalog(tmp_path, {"mine": folder(own)}, {"b": benchmark}).pairs
    assert pairs["is_same"].tolist() == [True, True, False, False]
    assert pairs["fold"].tolist() == [0, 5, 0, 5]
    (images / "Bo/Bo_0001.png").write_bytes(b"no image")
    (images / "Bo/Bo_0002.png").write_bytes(b"no image")
    with pytest.raises(
        LafsError, match=r"Benchmark 'b' has 1 usable pairs in 1 folds, 1 of them of one person"
    ):
        catalog(tmp_path, {"mine": folder(own)}, {"b": benchmark})
