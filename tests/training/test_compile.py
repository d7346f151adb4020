"""Compiled and half-precision steps against eager ones in float32."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.small_trainings import SEED, SmallTraining, draw_faces
from torch import nn
from torch._dynamo.utils import counters
from torch.torch_version import TorchVersion
from torch.utils.data import default_collate

from lafs_pipeline.faces.dataset import FaceImages
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training.jobs import RunContext
from lafs_pipeline.training.self_supervised import PretrainSamples
from lafs_pipeline.training.stage import Progress
from lafs_pipeline.training.step import COMPILES_FROM, Stepper, is_compiled
from lafs_pipeline.training.supervised import RecognitionSamples
from lafs_pipeline.views.supervised import AugmentationSettings, SupervisedAugmentation

STEPS = 5
PLAIN = AugmentationSettings(mixup_probability=0.0, randaugment_operations=0)
MIXED = AugmentationSettings(mixup_probability=1.0, randaugment_operations=0)
BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]
GRAPHS = {"pretrain": 4, "landmarks": 1, "adapt": 1}
"""Of pretraining: student on global and on local views, teacher, landmark network."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_faces(tmp_path_factory.mktemp("faces"))


def curve(faces, stage: str, **training) -> list[float]:
    """The losses of some steps of a training that draws nothing in its layers."""
    objective = {} if stage == "pretrain" else {"augmentation": MIXED if stage == "adapt" else PLAIN}
    small = SmallTraining(stage, faces, training, objective, random_layers=False)
    options = small.options()
    if stage == "pretrain":
        samples = PretrainSamples(FaceImages(faces), options, SEED, on_device=True, landmarks=None)
    else:
        augmentation = SupervisedAugmentation(options.augmentation)
        samples = RecognitionSamples(FaceImages(faces), np.arange(len(faces)) % 8, augmentation, SEED)
    rows = np.arange(8)
    device = torch.device("cpu")
    stepper = Stepper(
        small.job(RunContext(Path(), SEED)).stage(), options.training, SEED, device, [rows], STEPS, STEPS
    )
    if training.get("precision") == "fp16":  # the first steps would look for the scale, and be skipped
        stepper.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    losses = []
    for step in range(STEPS):
        batch = default_collate([samples[step, int(index)] for index in rows])
        losses.append(float(stepper([batch], Progress(step, STEPS, STEPS))["loss"]))
    return losses


@pytest.fixture(scope="module")
def eager(faces):
    return {stage: curve(faces, stage) for stage in GRAPHS}


@pytest.mark.skipif(torch.__version__ < COMPILES_FROM, reason="this torch is refused for it")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stage", GRAPHS)
def test_a_compiled_training_is_the_eager_one(faces, eager, stage, backend, monkeypatch):
    compile_module = nn.Module.compile
    with_backend = functools.partialmethod(compile_module, backend=backend)
    monkeypatch.setattr(nn.Module, "compile", with_backend)
    counters.clear()
    # Sums in another order: float32 rounding, over 5 steps.
    np.testing.assert_allclose(curve(faces, stage, compile=True), eager[stage], rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == GRAPHS[stage]


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
@pytest.mark.parametrize("stage", GRAPHS)
def test_half_precision_stays_near_float32(faces, eager, stage, precision, tolerance):
    # 8 and 11 bits of mantissa: products differ by 0.4 % and 0.05 %, logits are scaled by 10 or 16.
    np.testing.assert_allclose(curve(faces, stage, precision=precision), eager[stage], rtol=tolerance)


def test_a_torch_that_compiles_wrongly_is_not_used_for_it(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.12.0"))
    assert [is_compiled(device, "auto") for device in (cpu, gpu)] == [False, True]
    assert is_compiled(cpu, True)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.11.0+cu130"))
    assert not is_compiled(gpu, "auto")
    assert not is_compiled(gpu, False)
    with pytest.raises(LafsError, match=r"this is 2\.11\.0\+cu130: set training\.compile to false"):
        is_compiled(gpu, True)
