import pickle
import random

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data import Mixup
from timm.data.auto_augment import _RAND_INCREASING_TRANSFORMS

from lafs_pipeline.objectives.margin import MixedLabels
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.seeding import random_generator
from lafs_pipeline.views.parameters import AugmentationSettings
from lafs_pipeline.views.supervised import RANDAUGMENT_OPERATIONS, SupervisedAugmentation, mixup


def only(**wanted) -> AugmentationSettings:
    """Settings in which nothing happens but what is wanted."""
    quiet = {
        "flip_probability": 0.0,
        "randaugment_operations": 0,
        "crop_scale": (1.0, 1.0),
        "jitter": (0.0, 0.0, 0.0, 0.0),
        "erase_probability": 0.0,
    }
    return AugmentationSettings(**{**quiet, **wanted})


def augment(settings: AugmentationSettings, image: np.ndarray, count: int) -> list[np.ndarray]:
    augmentation = SupervisedAugmentation(settings)
    return [augmentation(image, random_generator("augment", index)) for index in range(count)]


def test_default_magnitudes_are_the_recipe():
    settings = AugmentationSettings()
    assert (settings.randaugment_operations, settings.randaugment_magnitude) == (2, 1.0)
    assert (settings.randaugment_magnitude_std, settings.randaugment_probability) == (0.5, 0.5)
    assert (settings.crop_scale, settings.erase_scale) == ((0.9, 1.0), (0.02, 0.1))
    assert settings.jitter == (0.1, 0.1, 0.1, 0.1)
    assert (settings.mixup_alpha, settings.mixup_probability) == (0.2, 0.1)


def test_operations_are_timms_increasing_list_without_solarizing():
    assert list(RANDAUGMENT_OPERATIONS) == [
        name for name in _RAND_INCREASING_TRANSFORMS if not name.startswith("Solarize")
    ]


def test_randaugment_carries_the_magnitudes():
    augmentation = SupervisedAugmentation(AugmentationSettings(randaugment_magnitude=2.0))
    assert augmentation.rand_augment.num_layers == 2
    assert len(augmentation.rand_augment.ops) == 13
    assert {(op.magnitude, op.magnitude_std, op.prob) for op in augmentation.rand_augment.ops} == {
        (2.0, 0.5, 0.5)
    }


def test_result_is_a_function_of_the_generator_and_leaves_the_global_generators_alone(picture):
    augmentation = SupervisedAugmentation(AugmentationSettings())
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = [augmentation(picture, random_generator("pure", index)) for index in range(8)]
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    copy = pickle.loads(pickle.dumps(augmentation))
    second = [copy(picture, random_generator("pure", index)) for index in range(8)]
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 8


def test_any_size_becomes_the_wanted_size_in_uint8(noise_picture):
    image = np.ascontiguousarray(noise_picture[:70, :90])
    kept = image.copy()
    result = SupervisedAugmentation(AugmentationSettings())(image, random_generator("size"))
    assert result.shape == (112, 112, 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, kept)


def test_flip_mirrors_half_of_the_images():
    image = np.zeros((112, 112, 3), np.uint8)
    image[:, :56] = 200
    results = augment(only(flip_probability=0.5), image, 300)
    mirrored = [result[:, -20:].mean() > 100 for result in results]
    assert stats.binomtest(sum(mirrored), 300, 0.5).pvalue > 1e-3


def test_erased_rectangles_are_black_within_the_scale_and_in_half_of_the_images():
    image = np.full((112, 112, 3), 200, np.uint8)
    shares = np.array(
        [(result == 0).all(axis=-1).mean() for result in augment(only(erase_probability=0.5), image, 400)]
    )
    erased = shares[shares > 0]
    assert stats.binomtest(len(erased), 400, 0.5).pvalue > 1e-3
    assert stats.kstest(erased, stats.uniform(0.02, 0.08).cdf).pvalue > 1e-3


def test_jitter_stays_within_its_strength():
    image = np.full((112, 112, 3), 120, np.uint8)
    levels = [result.mean() for result in augment(only(jitter=(0.1, 0.0, 0.0, 0.0)), image, 200)]
    assert 107 < min(levels) < 113
    assert 127 < max(levels) < 133


def test_what_is_no_rgb_image_is_refused():
    with pytest.raises(LafsError, match="uint8 RGB"):
        SupervisedAugmentation(AugmentationSettings())(np.zeros((8, 8), np.uint8), random_generator("x"))


def test_mixup_is_timms_for_the_same_lambda():
    images, labels = torch.rand(6, 3, 4, 4), torch.arange(6)
    mixed, weight = mixup(images, 0.2, 1.0, random_generator("mixup"))
    theirs = Mixup(
        mixup_alpha=0.2, cutmix_alpha=0.0, prob=1.0, mode="batch", label_smoothing=0.0, num_classes=10
    )
    theirs._params_per_batch = lambda: (weight, False)
    expected_images, expected_targets = theirs(images.clone(), labels)
    torch.testing.assert_close(mixed, expected_images)
    soft = MixedLabels(labels, labels.flip(0), torch.tensor(weight)).targets(10)
    torch.testing.assert_close(soft, expected_targets)


def test_mixup_happens_as_often_as_asked_with_a_beta_weight():
    generator = random_generator("mixup often")
    weights = [mixup(torch.zeros(3, 1), 0.2, 0.1, generator)[1] for _ in range(4000)]
    mixed = [weight for weight in weights if weight != 1.0]
    assert stats.binomtest(len(mixed), 4000, 0.1).pvalue > 1e-3
    assert stats.kstest(mixed, stats.beta(0.2, 0.2).cdf).pvalue > 1e-3


def test_mixup_leaves_its_input_alone():
    images = torch.rand(5, 2)
    kept = images.clone()
    mixed, _ = mixup(images, 0.2, 1.0, random_generator("odd"))
    assert torch.equal(images, kept)
    torch.testing.assert_close(mixed[2], images[2])
