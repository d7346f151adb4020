"""The supervised stage's objective and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.small_trainings import SIZES

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.objectives.margin import HEADS
from lafs_pipeline.pipelines.parameters import parse
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.recipes.settings import AdaptSettings
from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.training.supervised import RecognitionSettings, RecognitionStage
from lafs_pipeline.views.normalize import to_input
from lafs_pipeline.views.parameters import AugmentationSettings

PLAIN = AugmentationSettings(mixup_probability=0.0)
CLASSES, BATCH = 6, 4


def small_stage(**options) -> RecognitionStage:
    torch.manual_seed(0)
    model = PartFViT(**SIZES, dropout=0.0, drop_path=0.0)
    chosen = RecognitionSettings(**{"augmentation": PLAIN, "landmark_regularization": 0.0} | options)
    stage = RecognitionStage("stage1", model, CLASSES, chosen, None, None)
    stage.modules.eval()
    return stage


def small_batch() -> dict[str, torch.Tensor]:
    images = torch.randint(256, (BATCH, 112, 112, 3), dtype=torch.uint8)
    return {"image": images, "label": torch.tensor([0, 5, 2, 5])}


def first_loss(stage: RecognitionStage, batch: dict[str, torch.Tensor], seed: int = 0) -> torch.Tensor:
    (found,) = stage.losses(batch, MicroBatch(Progress(0, 10, 5), seed, np.arange(BATCH), BATCH))
    return found[0]


@pytest.mark.parametrize(("loss", "margin"), [("cosface", 0.35), ("arcface", 0.5), ("adaface", 0.4)])
def test_the_loss_is_that_of_the_chosen_head(loss, margin):
    stage, batch = small_stage(loss=loss, margin=margin, scale=30.0), small_batch()
    head = HEADS[loss](16, CLASSES, scale=30.0, margin=margin).eval()
    head.load_state_dict(stage.trained.head.state_dict())
    expected = F.cross_entropy(
        head(stage.trained.model(to_input(batch["image"])), batch["label"]), batch["label"]
    )
    torch.testing.assert_close(first_loss(stage, batch), expected)


@pytest.mark.parametrize("loss", ["arcface", "adaface"])
def test_mixup_is_refused_when_the_settings_are_made(loss):
    assert RecognitionSettings(loss=loss, augmentation=PLAIN).loss == loss
    with pytest.raises(LafsError, match=rf"loss is {loss}.*mixup_probability is 0.1.*cosface"):
        RecognitionSettings(loss=loss)
    with pytest.raises(LafsError, match=rf"adapt.*loss is {loss}.*mixup_probability"):
        parse(AdaptSettings, {"recognition": {"loss": loss}}, "adapt")


def test_mixup_gives_soft_targets():
    always = replace(PLAIN, mixup_probability=1.0)
    stage, batch = small_stage(augmentation=always), small_batch()
    seen = []
    stage.call = lambda images, labels: (seen.append((images, labels)), stage.trained(images, labels))[1]
    loss = first_loss(stage, batch)
    ((images, labels),) = seen
    weight = float(labels.weight)
    clean = to_input(batch["image"])
    torch.testing.assert_close(images, weight * clean + (1 - weight) * clean.flip(0))
    one_hot = F.one_hot(batch["label"], CLASSES)
    soft = weight * one_hot + (1 - weight) * one_hot.flip(0)
    logits = stage.trained.head(stage.trained.model(images), soft)
    torch.testing.assert_close(loss, -(soft * logits.log_softmax(1)).sum(1).mean())


def gradients(
    stage: RecognitionStage, batch: dict[str, torch.Tensor], seed: int = 0
) -> dict[str, torch.Tensor]:
    """Of all parameters, those of the class matrix under one name."""
    first_loss(stage, batch, seed).backward()
    return {
        name.split(".head.")[0] if ".head." in name else name: value.grad
        for name, value in stage.modules.named_parameters()
    }


@pytest.mark.parametrize(
    "options", [{"augmentation": AugmentationSettings(mixup_probability=1.0)}, {"loss": "adaface"}]
)
def test_classes_dealt_out_have_the_loss_and_gradients_of_the_whole_head(options):
    batch = small_batch()
    whole = gradients(small_stage(**options), batch)
    dealt_out = gradients(small_stage(shard_classes=True, **options), batch)
    dealt_out["recognizer"] = dealt_out.pop("classes")
    assert dealt_out.keys() == whole.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(dealt_out[name], expected, rtol=1e-3, atol=1e-5)


def test_a_rate_below_1_samples_classes_anew_in_every_step():
    batch = small_batch()

    def drawn(seed: int) -> tuple[int, ...]:
        gradient = gradients(small_stage(class_sample_rate=0.7), batch, seed)["classes"]
        return tuple(gradient.abs().sum(1).nonzero().flatten().tolist())

    draws = [drawn(seed) for seed in range(8)]
    assert draws == [drawn(seed) for seed in range(8)]
    assert all(len(classes) == 5 and {0, 2, 5} < set(classes) for classes in draws)
    assert len(set(draws)) > 1
