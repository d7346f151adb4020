"""What a training returns, and what it says of itself."""

import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.training.small_trainings import (
    SEED,
    SmallTraining,
    curve,
    difference,
    training_folder,
)

from lafs_pipeline.interop.model_files import load_model, save_model
from lafs_pipeline.models.digest import model_digest
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import MetricLogger
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.checkpoints.folders import configuration_digest, find_trainings
from lafs_pipeline.training.jobs import RunContext


class Damage(MetricLogger):
    """Receives metrics, and when the training is over shortens its last checkpoint."""

    def __init__(self, folder):
        self.folder = folder

    def log(self, metrics, step, images_seen):
        pass

    def close(self):
        path = training_folder(self.folder) / "step-00000008" / checkpoints.WEIGHTS
        os.truncate(path, path.stat().st_size - 1)


def test_a_damaged_last_checkpoint_is_no_result_and_is_trained_again(faces, tmp_path):
    training = SmallTraining("landmarks", faces)
    with pytest.raises(LafsError, match=r"no whole checkpoint of the last step, 8.* resumes from step 6"):
        training.run(RunContext(tmp_path / "damaged", SEED, (Damage(tmp_path / "damaged"),)))
    training.run(RunContext(tmp_path / "damaged", SEED))
    training.run(RunContext(tmp_path / "whole", SEED))
    assert difference(tmp_path / "damaged", tmp_path / "whole") is None


def test_the_model_names_its_training_in_its_file(faces, tmp_path):
    training = SmallTraining("pretrain", faces)
    model = training.run(RunContext(tmp_path, SEED, run_id="0123"))
    (found,) = find_trainings(tmp_path)
    expected = Provenance(configuration_digest(found.configuration), model_digest(training.model()), "0123")
    assert model.provenance == expected
    assert found.path.name == expected.training[:12]
    assert training.run(RunContext(tmp_path, SEED, run_id="4567")).provenance == expected
    save_model(model, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").provenance == expected
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert vars(expected).items() <= file.metadata().items()
        assert file.metadata()["digest"] == model_digest(model)


def test_more_epochs_on_request(faces, tmp_path):
    short, place = SmallTraining("landmarks", faces, {"epochs": 2}), RunContext(tmp_path, SEED)
    first = short.run(place)
    long = SmallTraining("landmarks", faces, {"epochs": 3, "resume": "extend"})
    second = long.run(place)
    lines = curve(training_folder(tmp_path))
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert second.provenance.start == first.provenance.start
    assert second.provenance.training != first.provenance.training
    assert torch.equal(long.run(place).transformer.positions, second.transformer.positions)
    assert torch.equal(short.run(place).transformer.positions, first.transformer.positions)
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    assert rates[8] > rates[7]
    assert np.argmin(rates[8:]) == 3
