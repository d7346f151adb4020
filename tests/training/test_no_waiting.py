"""Between two logs the host sends steps to a GPU without ever waiting for it."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.fake_gpu import GPU, HostWaits, fake_gpu, fill_gradients, move
from tests.training.small_trainings import SEED, SmallTraining, draw_faces
from torch import nn
from torch.utils.data import default_collate

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.self_supervised import PretrainSamples
from lafs_pipeline.training.stage import Progress
from lafs_pipeline.training.step import Stepper
from lafs_pipeline.training.supervised import RecognitionSamples
from lafs_pipeline.views.supervised import AugmentationSettings, SupervisedAugmentation

MIXED = AugmentationSettings(mixup_probability=1.0, randaugment_operations=0)
CASES = {
    "pretrain": {},
    "landmarks": {"augmentation": MIXED},
    "adapt": {"augmentation": MIXED},
    "adapt, sharded": {"augmentation": MIXED, "shard_classes": True},
    "adapt, sampled": {"augmentation": MIXED, "class_sample_rate": 0.5},
    "adapt, ArcFace": {"loss": "arcface", "augmentation": AugmentationSettings(mixup_probability=0.0)},
}
ROWS = np.split(np.arange(8), 2)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"))


def prepared(case, faces, clip, on_device):
    """Stage and settings of a case, and the micro-batches of a step."""
    training = {"precision": "bf16", "clip_mode": clip}
    small = SmallTraining(case.partition(",")[0], faces, training, CASES[case], random_layers=False)
    options, stage = small.options(), small.job(RunContext(Path(), SEED)).stage()
    if small.stage == "pretrain":
        samples = PretrainSamples(FaceImages(faces), options, SEED, on_device, landmarks=None)
    else:
        augmentation = SupervisedAugmentation(options.augmentation)
        samples = RecognitionSamples(FaceImages(faces), np.arange(len(faces)) % 8, augmentation, SEED)
    batches = [default_collate([samples[0, int(index)] for index in rows]) for rows in ROWS]
    return stage, options.training, batches


@pytest.mark.parametrize("clip", ["parameter", "global"])
@pytest.mark.parametrize("case", CASES)
def test_no_value_is_read_in_a_step(faces, case, clip):
    stage, training, batches = prepared(case, faces, clip, on_device=True)
    stepper = Stepper(stage, training, SEED, torch.device("cpu"), ROWS, 10, 5)
    with HostWaits() as waits:
        metrics = stepper(batches, Progress(0, 10, 5))
    assert waits.found == []
    assert torch.isfinite(metrics["loss"])


@pytest.mark.parametrize("clip", ["parameter", "global"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_copied_between_host_and_gpu_but_the_batch(faces, case, clip, monkeypatch):
    stage, training, batches = prepared(case, faces, clip, on_device=True)
    known: dict = {}
    with fake_gpu(monkeypatch):
        for module in vars(stage).values():
            if isinstance(module, nn.Module):
                move(module, known)
        stepper = Stepper(stage, training, SEED, GPU, ROWS, 10, 5)
        monkeypatch.setattr(torch.Tensor, "backward", lambda _: fill_gradients(stepper.parameters))
        batches = [
            {name: torch.empty(value.shape, dtype=value.dtype) for name, value in batch.items()}
            for batch in batches
        ]
        with HostWaits() as waits:
            metrics = stepper(batches, Progress(0, 10, 5))
    assert waits.found == []
    assert metrics["loss"].device == metrics["skipped"].device == GPU


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.sum().item(),
        lambda x: x.new_tensor((1.0, 2.0)),
        lambda x: x[[0, 1]],
        lambda x: x.cpu(),
        lambda x: (x > 0).nonzero(),
        lambda x: x[x > 0],
    ],
)
def test_waiting_is_noticed(operation, monkeypatch):
    with fake_gpu(monkeypatch):
        x = torch.empty(4, 3, device=GPU)
        with HostWaits() as waits, suppress(RuntimeError):
            operation(x)
    assert waits.found
