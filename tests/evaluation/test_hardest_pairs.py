"""The worst errors, against a search through all pairs."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lafs_pipeline.evaluation.benchmarks import BenchmarkData
from lafs_pipeline.evaluation.hardest_pairs import (
    FALSE_ACCEPT,
    FALSE_REJECT,
    HARDEST_TYPES,
    find_hardest_pairs,
    hardest_pairs,
)
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.benchmarks import BenchmarkSettings
from lafs_pipeline.faces.catalogue import CatalogSettings, catalog_faces
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.faces.sources import SourceSettings
from lafs_pipeline.runtime.launch import LaunchSettings
from lafs_pipeline.views.normalise import to_input

PAIRS = 200


def made_up(noise: float):
    """Pairs, and their embeddings."""
    rng = np.random.default_rng(3)
    is_same = rng.random(PAIRS) < 0.5
    a = rng.standard_normal((PAIRS, 6))
    b = np.where(is_same[:, None], a, rng.standard_normal(a.shape)) + noise * rng.standard_normal(a.shape)
    keys = [f"k{number}" for number in range(2 * PAIRS)]
    pairs = pd.DataFrame(
        {
            "benchmark": "b",
            "key_a": keys[:PAIRS],
            "key_b": keys[PAIRS:],
            "is_same": is_same,
            "fold": np.arange(PAIRS) % 5 + 7,
        }
    )
    return pairs, a, b


def brute_force(pairs, a, b, result):
    """Kind, keys and excess of every error, from squared distances."""
    errors = {FALSE_ACCEPT: [], FALSE_REJECT: []}
    for row, x, y in zip(pairs.itertuples(), a, b, strict=True):
        x, y = x / np.sqrt(x @ x), y / np.sqrt(y @ y)
        distance = (x - y) @ (x - y)
        excess = distance - result.fold_threshold[row.fold - 7]
        if row.is_same and excess >= 0:
            errors[FALSE_REJECT].append((excess, row.key_a, row.key_b))
        if not row.is_same and excess < 0:
            errors[FALSE_ACCEPT].append((-excess, row.key_a, row.key_b))
    return {kind: sorted(found, reverse=True) for kind, found in errors.items()}


@pytest.mark.parametrize("count", [0, 3, PAIRS])
def test_the_worst_errors_are_those_of_a_search_through_all(count):
    pairs, a, b = made_up(1.5)
    result = verify_pairs(a, b, pairs["is_same"].to_numpy(), pairs["fold"].to_numpy())
    found = hardest_pairs(pairs, result, count)
    for kind, errors in brute_force(pairs, a, b, result).items():
        assert len(errors) > 3
        rows = found[found["error"] == kind]
        assert list(zip(rows["key_a"], rows["key_b"], strict=True)) == [error[1:] for error in errors[:count]]
        excess = 2 * (rows["similarity"] - rows["threshold"]).abs()
        np.testing.assert_allclose(excess, [error[0] for error in errors[:count]], atol=1e-12)
        if count:
            assert rows["errors"].unique().tolist() == [len(errors)]
            assert rows["pairs"].unique().tolist() == [(pairs["is_same"] == (kind == FALSE_REJECT)).sum()]


def test_a_perfect_model_has_none():
    pairs, a, b = made_up(0.0)
    result = verify_pairs(a, b, pairs["is_same"].to_numpy(), pairs["fold"].to_numpy())
    assert result.accuracy == 1
    assert hardest_pairs(pairs, result, 3).empty


class Pixels(nn.Module):
    """Embeds a face as its pixels, coarsely."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 28).flatten(1)


@pytest.fixture
def catalogued(tmp_path):
    source = SourceSettings(kind="synthetic", identities=10, images_per_identity=4)
    settings = CatalogSettings(
        sources={"drawn": source},
        benchmarks={"held_out": BenchmarkSettings(source="drawn", identities=6, pairs=60)},
        threads=1,
    )
    found = vars(catalog_faces(settings, 0, tmp_path / "faces.rec"))
    tables = {name: found[name] for name in BenchmarkData.__dataclass_fields__ if name != "faces"}
    return BenchmarkData(faces=found["manifest"], **tables)


def options(tmp_path):
    return EvaluateSettings(embeddings=str(tmp_path / "embeddings"), workers=0, flip=False)


def test_a_model_s_errors_on_catalogued_faces(tmp_path, catalogued):
    model, alone = Pixels(), LaunchSettings(processes=1)
    found = find_hardest_pairs(model, catalogued, options(tmp_path), alone, 4)
    assert found.dtypes.astype(str).to_dict() == HARDEST_TYPES
    assert 1 <= len(found) <= 8
    keys = catalogued.faces["key"].tolist()
    images = FaceImages(catalogued.faces)
    for row in found.itertuples():
        pictures = [images[keys.index(key)] for key in (row.key_a, row.key_b)]
        x, y = model(to_input(torch.from_numpy(np.stack(pictures))))
        assert row.similarity == pytest.approx(float(torch.cosine_similarity(x, y, dim=0)), abs=1e-5)
        assert (row.similarity > row.threshold) == (row.error == FALSE_ACCEPT)
        assert (row.identity_a == row.identity_b) == (row.error == FALSE_REJECT)


def test_without_image_pairs_the_table_is_empty(tmp_path, catalogued):
    none = BenchmarkData(**vars(catalogued) | {"pairs": catalogued.pairs.iloc[:0]})
    found = find_hardest_pairs(Pixels(), none, options(tmp_path), LaunchSettings(processes=1), 4)
    assert found.empty
    assert list(found) == list(HARDEST_TYPES)
