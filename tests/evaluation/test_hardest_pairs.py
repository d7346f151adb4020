"""The worst errors, against a search through all pairs."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.protocols.ijb_trees import write_tree
from torch import nn

from lafs_pipeline.cataloging.catalog import catalog_faces
from lafs_pipeline.cataloging.planning import CatalogSettings
from lafs_pipeline.evaluation.embeddings import EmbeddingStore
from lafs_pipeline.evaluation.evaluate import BenchmarkData, embed_benchmarks
from lafs_pipeline.evaluation.hardest_pairs import (
    FALSE_ACCEPT,
    FALSE_REJECT,
    HARDEST_TYPES,
    find_hardest_pairs,
    hardest_pairs,
    threshold_at_far,
)
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.evaluation.templates import tar_at_far
from lafs_pipeline.evaluation.verification import verify_pairs
from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.protocols.open import BenchmarkSettings
from lafs_pipeline.runtime.launch_settings import LaunchSettings
from lafs_pipeline.sources.open import SourceSettings
from lafs_pipeline.views.normalize import to_input

PAIRS = 200
ALONE = LaunchSettings(processes=1)
OPTIONS = EvaluateSettings(workers=0, flip=False)


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
def cataloged(tmp_path):
    source = SourceSettings(kind="synthetic", identities=10, images_per_identity=4)
    settings = CatalogSettings(
        sources={"drawn": source},
        benchmarks={"held_out": BenchmarkSettings(source="drawn", identities=6, pairs=60)},
        threads=1,
    )
    found = vars(catalog_faces(settings, 0, tmp_path / "stores"))
    tables = {name: found[name] for name in BenchmarkData.__dataclass_fields__ if name != "faces"}
    return BenchmarkData(faces=found["manifest"], **tables)


def worst_of(model, data, folder, count):
    _, found = embed_benchmarks(model, data, EmbeddingStore(folder), OPTIONS, ALONE)
    return find_hardest_pairs(found, data, OPTIONS, count)


def test_a_model_s_errors_on_cataloged_faces(tmp_path, cataloged):
    model = Pixels()
    found = worst_of(model, cataloged, tmp_path, 4)
    assert found.dtypes.astype(str).to_dict() == HARDEST_TYPES
    assert 1 <= len(found) <= 8
    keys = cataloged.faces["key"].tolist()
    images = FaceImages(cataloged.faces)
    for row in found.itertuples():
        pictures = [images[keys.index(key)] for key in (row.key_a, row.key_b)]
        x, y = model(to_input(torch.from_numpy(np.stack(pictures))))
        assert row.similarity == pytest.approx(float(torch.cosine_similarity(x, y, dim=0)), abs=1e-5)
        assert (row.similarity > row.threshold) == (row.error == FALSE_ACCEPT)
        assert (row.identity_a == row.identity_b) == (row.error == FALSE_REJECT)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_the_threshold_of_a_false_accept_rate_accepts_that_share(rate):
    rng = np.random.default_rng(2)
    similarity, is_same = rng.standard_normal(1000), np.arange(1000) % 5 == 0
    similarity[is_same] += 1
    accepted = similarity > threshold_at_far(similarity, is_same, rate)
    assert accepted[~is_same].mean() == rate
    assert accepted[is_same].mean() == pytest.approx(tar_at_far(similarity, is_same, [rate])[rate], abs=0.04)


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """IJB's template protocol on drawn faces, and the embedding of every image."""
    folder = tmp_path_factory.mktemp("templates")
    tree = write_tree(folder / "IJBC", people=10)
    benchmarks = {"ijbc": BenchmarkSettings(kind="ijb", path=str(tree.root))}
    found = vars(catalog_faces(CatalogSettings(benchmarks=benchmarks, threads=1), 0, folder / "stores"))
    tables = {name: found[name] for name in BenchmarkData.__dataclass_fields__ if name != "faces"}
    data = BenchmarkData(faces=found["manifest"], **tables)
    faces = FaceImages(data.faces)
    pixels = torch.from_numpy(np.stack([faces[place] for place in range(len(faces))]))
    return data, dict(zip(data.faces["key"], Pixels()(to_input(pixels)).numpy(), strict=True))


def test_a_model_s_errors_on_templates(tmp_path, templates):
    data, embedding = templates
    found = worst_of(Pixels(), data, tmp_path, 3)
    assert found.dtypes.astype(str).to_dict() == HARDEST_TYPES
    assert found["fold"].isna().all()

    # One media after the other, as the protocol is described, images weighted by the detector's score.
    pooled = {}
    for template, rows in data.templates.groupby("template"):
        media = [
            np.mean([row.score * embedding[row.key] for row in clip.itertuples()], axis=0)
            for _, clip in rows.groupby("media")
        ]
        pooled[template] = np.sum(media, axis=0) / np.linalg.norm(np.sum(media, axis=0))
    compared = data.template_pairs.assign(
        score=[pooled[row.template_a] @ pooled[row.template_b] for row in data.template_pairs.itertuples()]
    )
    different = compared.loc[~compared["is_same"], "score"].sort_values(ascending=False)
    threshold = different.iloc[1]
    images = data.templates.groupby("template")["key"].agg(list)
    owner = data.templates.set_index("key")["template"]
    for error, wrong in {
        FALSE_ACCEPT: compared[~compared["is_same"] & (compared["score"] > threshold)],
        FALSE_REJECT: compared[compared["is_same"] & (compared["score"] < threshold)],
    }.items():
        worst = wrong.sort_values("score", ascending=error == FALSE_REJECT).head(3)
        rows = found[found["error"] == error]
        assert len(rows) == len(worst) > 0
        assert rows["errors"].unique().tolist() == [len(wrong)]
        np.testing.assert_allclose(rows["threshold"], threshold, atol=1e-5)
        np.testing.assert_allclose(rows["similarity"], worst["score"], atol=1e-5)
        for side in ("a", "b"):
            assert owner.loc[rows[f"key_{side}"]].tolist() == worst[f"template_{side}"].tolist()
            for row, template in zip(rows.itertuples(), worst[f"template_{side}"], strict=True):
                assert getattr(row, f"images_{side}") == len(images[template])
                alike = {
                    key: embedding[key] @ pooled[template] / np.linalg.norm(embedding[key])
                    for key in images[template]
                }
                assert getattr(row, f"key_{side}") == max(alike, key=alike.get)


def test_without_benchmarks_the_table_is_empty(tmp_path, cataloged):
    none = BenchmarkData(
        **vars(cataloged) | {"pairs": cataloged.pairs.iloc[:0], "protocols": cataloged.protocols.iloc[:0]}
    )
    found = worst_of(Pixels(), none, tmp_path, 4)
    assert found.empty
    assert list(found) == list(HARDEST_TYPES)
