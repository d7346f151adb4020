import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from sklearn.preprocessing import normalize

from lafs_pipeline.evaluation.templates import Templates, pool_templates, score_pairs, tar_at_far
from lafs_pipeline.runtime.errors import LafsError


def literal_pooling(features, template_ids, media_ids, scores, normalize_images):
    if normalize_images:
        features = normalize(features)
    if scores is not None:
        features = features * scores[:, None]
    pooled = []
    for template in np.unique(template_ids):
        mine = template_ids == template
        media = [features[mine & (media_ids == medium)].mean(axis=0) for medium in np.unique(media_ids[mine])]
        pooled.append(np.sum(media, axis=0))
    return normalize(np.array(pooled))


def literal_tar(scores, is_same, rates):
    fpr, tpr, _ = roc_curve(is_same, scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    nearest = [min(zip(abs(fpr - rate), range(len(fpr)), strict=True))[1] for rate in rates]
    return {rate: tpr[index] for rate, index in zip(rates, nearest, strict=True)}


def made_up_images(images: int, templates: int, width: int = 6):
    rng = np.random.default_rng(0)
    template_ids = (
        np.concatenate([np.arange(templates), rng.integers(0, templates, images - templates)]) * 3 + 5
    )
    return {
        "image_features": rng.standard_normal((images, width)),
        "template_ids": rng.permutation(template_ids),
        "media_ids": rng.integers(0, 40, images),
        "detector_scores": rng.uniform(0.5, 1, images),
    }


def test_reference_templates_scores_and_rates_are_met(parity_dir):
    data = np.load(parity_dir / "ijb.npz")
    templates = pool_templates(
        data["image_features"], data["template_ids"], data["media_ids"], data["detector_score"]
    )
    np.testing.assert_array_equal(templates.ids, data["unique_templates"])
    np.testing.assert_allclose(templates.features, data["template_features"], atol=1e-6)
    scores = score_pairs(templates, data["pair_a"], data["pair_b"])
    np.testing.assert_allclose(scores, data["scores"], atol=1e-6)
    rates = tar_at_far(scores, data["pair_label"])
    assert list(rates) == pytest.approx(list(data["far"]))
    assert list(rates.values()) == pytest.approx(list(data["tar"]), abs=1e-9)


@pytest.mark.parametrize("with_scores", [False, True])
@pytest.mark.parametrize("normalize_images", [False, True])
def test_pooling_equals_a_scan_of_each_template(with_scores, normalize_images):
    images = made_up_images(300, 40)
    if not with_scores:
        images["detector_scores"] = None
    templates = pool_templates(**images, normalize_images=normalize_images)
    expected = literal_pooling(*images.values(), normalize_images)
    np.testing.assert_array_equal(templates.ids, np.unique(images["template_ids"]))
    np.testing.assert_allclose(templates.features, expected, atol=1e-6)
    assert templates.features.dtype == np.float32


def test_half_precision_on_disk_pools_like_the_same_numbers_in_memory(tmp_path):
    images = made_up_images(40_000, 900)
    halved = images["image_features"].astype(np.float16)
    on_disk = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float16, halved.shape)
    on_disk[:] = halved
    read = pool_templates(**images | {"image_features": on_disk})
    expected = pool_templates(**images | {"image_features": halved.astype(np.float64)})
    np.testing.assert_allclose(read.features, expected.features, atol=1e-5)


def test_scores_of_many_blocks_are_the_cosines_of_the_pairs():
    rng = np.random.default_rng(0)
    templates = Templates(np.arange(9_000) * 2, normalize(rng.standard_normal((9_000, 4))).astype(np.float32))
    a, b = rng.integers(0, 9_000, (2, 20_000))
    expected = np.einsum("ij,ij->i", templates.features[a], templates.features[b])
    np.testing.assert_allclose(score_pairs(templates, a * 2, b * 2), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    pairs=st.integers(2, 300),
    distinct=st.sampled_from([2, 10, 100, 10**9]),
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True),
)
def test_tar_at_far_equals_the_search_through_the_roc_curve(seed, pairs, distinct, rates):
    rng = np.random.default_rng(seed)
    is_same = rng.random(pairs) < 0.3
    is_same[:2] = True, False
    scores = rng.integers(0, distinct, pairs) + np.round(0.3 * distinct) * is_same
    assert tar_at_far(scores, is_same, rates) == literal_tar(scores, is_same, rates)


def test_one_score_for_all_pairs_accepts_nobody_at_low_rates():
    assert tar_at_far(np.ones(10), np.arange(10) < 5, [1e-3]) == {1e-3: 0.0}


def test_a_pair_with_an_unknown_template_is_refused():
    templates = pool_templates(**made_up_images(30, 4))
    with pytest.raises(LafsError, match="the first of them 99"):
        score_pairs(templates, [5, 8], [8, 99])
    with pytest.raises(LafsError, match="2 first and 1 second"):
        score_pairs(templates, [5, 8], [8])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_template_without_direction_is_named(value):
    images = made_up_images(30, 4)
    images["image_features"][images["template_ids"] == 8] = value
    with pytest.raises(LafsError, match="the first of them 8"):
        pool_templates(**images)


@pytest.mark.parametrize("name", ["image_features", "template_ids", "media_ids", "detector_scores"])
def test_lists_of_different_lengths_are_refused(name):
    images = made_up_images(30, 4)
    images[name] = images[name][:-1]
    with pytest.raises(LafsError, match="29"):
        pool_templates(**images)


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        ([0.1, 0.2], [1, 1], "one is missing"),
        ([0.1, np.nan], [1, 0], "not finite"),
        ([0.1, 0.2, 0.3], [1, 0], "labels"),
    ],
)
def test_rates_of_unusable_scores_are_refused(scores, labels, words):
    with pytest.raises(LafsError, match=words):
        tar_at_far(scores, labels)
