"""Embeddings of other programs in place of a model."""

import logging

import numpy as np
import pandas as pd
import pytest

from lafs_pipeline.faces.manifest import fingerprint
from lafs_pipeline.models.embedding_file import EmbeddingFile
from lafs_pipeline.runtime.errors import LafsError

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float16)


def faces(benchmark, *images):
    """Rows of a manifest, as far as embeddings ask for them."""
    keys = [f"{benchmark}/{image}" for image in images]
    return pd.DataFrame({"key": keys}).assign(
        identity=None, split=benchmark, exact_hash=keys, channel_order="rgb"
    )


def write(path, keys, vectors=VECTORS):
    pd.DataFrame({"key": keys, "embedding": list(vectors)}).to_parquet(path)
    return path


def found(file, benchmark, *images):
    own = EmbeddingFile(file).embeddings({benchmark: faces(benchmark, *images)})[benchmark]
    return own.vectors[own.rows.loc[[f"{benchmark}/{image}" for image in images]]]


def test_keys_are_those_of_the_catalog_or_of_the_images(tmp_path):
    names = ["p/1.jpg", "lfw/p/2.jpg", "q/1.jpg", "else.jpg"]
    file = write(tmp_path / "a.parquet", names)
    np.testing.assert_array_equal(found(file, "lfw", "q/1.jpg", "p/2.jpg", "p/1.jpg"), VECTORS[[2, 1, 0]])
    np.save(tmp_path / "b.npy", VECTORS)
    (tmp_path / "b.txt").write_text("\n".join(names))
    np.testing.assert_array_equal(found(tmp_path / "b.npy", "lfw", "p/2.jpg"), VECTORS[[1]])
    assert EmbeddingFile(tmp_path / "b.npy").digest != EmbeddingFile(file).digest


def test_images_of_a_bin_are_numbers(tmp_path):
    file = write(tmp_path / "a.parquet", [0, 1, 2, 3])
    np.testing.assert_array_equal(found(file, "lfw", "000003", "000000"), VECTORS[[3, 0]])


def test_a_name_that_two_benchmarks_have_needs_the_benchmark(tmp_path):
    tables = {name: faces(name, "000000", "000001") for name in ("lfw", "cfp")}
    bare = EmbeddingFile(write(tmp_path / "a.parquet", [0, 1, 2, 3]))
    with pytest.raises(LafsError, match=r"no image of any benchmark: its keys are like '000000'"):
        bare.embeddings(tables)
    whole = EmbeddingFile(
        write(tmp_path / "b.parquet", [f"{name}/00000{n}" for name in tables for n in (0, 1)])
    )
    own = whole.embeddings(tables)["cfp"]
    assert own.rows.tolist() == [2, 3]
    assert own.fingerprint == fingerprint(tables["cfp"])


def test_a_benchmark_without_any_image_is_left_out(tmp_path, caplog):
    file = EmbeddingFile(write(tmp_path / "a.parquet", list("abcd")))
    with caplog.at_level(logging.WARNING):
        assert list(file.embeddings({"one": faces("one", "a"), "two": faces("two", "x")})) == ["one"]
    assert "has no image of benchmark 'two', which is left out" in caplog.text


def test_files_that_cannot_be_used(tmp_path):
    def refused(message, path):
        with pytest.raises(LafsError, match=message):
            EmbeddingFile(path)

    file = write(tmp_path / "a.parquet", list("abcd"))
    with pytest.raises(LafsError, match=r"no embedding of 2 images \(own/x, own/y\) of benchmark 'own'"):
        EmbeddingFile(file).embeddings({"own": faces("own", "a", "x", "y")})
    refused(r"has 2 images \(b, a\) more than once", write(tmp_path / "b.parquet", list("abba")))
    refused(r"absent\.parquet does not exist", tmp_path / "absent.parquet")
    (tmp_path / "torn.parquet").write_bytes(file.read_bytes()[:200])
    refused(r"torn\.parquet cannot be read .*columns key and embedding", tmp_path / "torn.parquet")
    pd.DataFrame({"name": list("ab")}).to_parquet(tmp_path / "other.parquet")
    refused(r"other\.parquet cannot be read", tmp_path / "other.parquet")
    uneven = [np.ones(2), np.ones(3), np.ones(4), np.ones(3)]
    refused("not all of one length", write(tmp_path / "uneven.parquet", list("abcd"), uneven))
    np.save(tmp_path / "c.npy", VECTORS)
    refused(r"c\.txt does not exist; expected a line a row", tmp_path / "c.npy")
    (tmp_path / "c.txt").write_text("a\nb")
    refused(r"vectors \(4, 3\) for 2 keys", tmp_path / "c.npy")
    np.save(tmp_path / "d.npy", np.array([object()]), allow_pickle=True)
    (tmp_path / "d.txt").write_text("a")
    refused(r"d\.npy cannot be read", tmp_path / "d.npy")
