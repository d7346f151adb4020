import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.schedules import cosine_schedule
from lafs_pipeline.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    epochs=4,
    batch_size=8,
    learning_rate=0.05,
    reference_batch=8,
    warmup_epochs=1,
    weight_decay=0.1,
    clip_norm=1.0,
    workers=0,
    log_every=1,
    checkpoint_every=3,
    keep_checkpoints=50,
    probe_every=2,
)


class Points(Dataset):
    def __len__(self):
        return 37

    def __getitem__(self, draw):
        epoch, index = draw
        x = np.random.default_rng((epoch, index)).standard_normal(4).astype(np.float32)
        return {"x": x, "y": x[:1] * 2}


class Regression:
    """A stage that trains a small network with dropout, so that it depends on every draw."""

    name = "regression"

    def __init__(self, fail_at=None):
        torch.manual_seed(0)
        self.modules = nn.ModuleDict(
            {"net": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))}
        )
        self.fail_at, self.rates = fail_at, []

    def parameter_groups(self):
        named = dict(self.modules.named_parameters())
        return [{"params": list(named.values()), "names": list(named), "lr_scale": 0.5, "weight_decay": 0.1}]

    def loss(self, batch, progress, seed):
        if progress.step == self.fail_at:
            raise KeyboardInterrupt
        return (self.modules["net"](batch["x"]) - batch["y"]).square().mean(), {"seen": torch.tensor(1.0)}

    def before_update(self, progress):
        pass

    def after_update(self, progress):
        pass

    def probe(self):
        return {"probe": 0.5}


def run(folder, **changes):
    values = {"configuration": {"seed": 1}, "sinks": ()} | changes
    return Run(folder, 1, device=torch.device("cpu"), **values)


def weights(modules):
    return torch.cat([parameter.detach().flatten() for parameter in modules.parameters()])


def test_a_broken_run_ends_bit_identical_to_an_unbroken_one(tmp_path):
    unbroken = weights(Trainer(Regression(), Points(), SETTINGS, run(tmp_path / "a")).train())
    with pytest.raises(KeyboardInterrupt):
        Trainer(Regression(fail_at=10), Points(), SETTINGS, run(tmp_path / "b")).train()
    resumed = Trainer(Regression(), Points(), SETTINGS, run(tmp_path / "b"))
    assert resumed.start == 9
    assert torch.equal(weights(resumed.train()), unbroken)


def test_accumulation_changes_the_result_by_rounding_alone(tmp_path):
    class Plain(Regression):
        def loss(self, batch, progress, seed):
            self.modules.eval()
            return super().loss(batch, progress, seed)

    whole = weights(Trainer(Plain(), Points(), SETTINGS, run(tmp_path / "a")).train())
    parts = weights(
        Trainer(Plain(), Points(), replace(SETTINGS, accumulation=4), run(tmp_path / "b")).train()
    )
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)


def test_metrics_follow_the_schedules(tmp_path):
    Trainer(Regression(), Points(), SETTINGS, run(tmp_path)).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    np.testing.assert_allclose(rates, cosine_schedule(0.05, 1e-6, 16, 4))
    assert [line["step"] for line in lines if "probe" in line] == [8, 16]
    assert all(line["images_per_second"] > 0 for line in lines if "loss" in line)


def test_an_unfinished_run_of_another_configuration_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Trainer(Regression(fail_at=7), Points(), SETTINGS, run(tmp_path)).train()
    record = next(tmp_path.glob("step-*6/checkpoint.json"))
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 1, "model": {"dim": 1}'))
    other = run(tmp_path, configuration={"seed": 1, "model": {"dim": 2}})
    with pytest.raises(
        LafsError, match=r"unfinished regression run \(step 6\).*model\.dim \(1 -> 2\)"
    ) as refused:
        Trainer(Regression(), Points(), SETTINGS, other)
    assert "resume" in str(refused.value)
    assert len(list(tmp_path.glob("step-*"))) == 2
    fresh = Trainer(Regression(), Points(), replace(SETTINGS, resume="never"), run(tmp_path))
    assert fresh.start == 0


def test_a_finished_run_is_taken_as_it_is_or_replaced(tmp_path):
    done = weights(Trainer(Regression(), Points(), SETTINGS, run(tmp_path)).train())
    again = Trainer(Regression(), Points(), SETTINGS, run(tmp_path))
    assert again.start == 16
    assert torch.equal(weights(again.train()), done)
    other = Trainer(Regression(), Points(), SETTINGS, run(tmp_path, configuration={"seed": 2}))
    assert other.start == 0
    assert checkpoints.load_latest(tmp_path) is None
