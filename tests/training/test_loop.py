import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from lafs_pipeline.runtime.errors import LafsError, Stopped
from lafs_pipeline.runtime.metric_loggers import read_metrics
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.loop import Run, Trainer
from lafs_pipeline.training.sampling import StepBatches
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
    """Made-up regression data; some samples may be poisoned."""

    def __init__(self, poisoned=()):
        self.poisoned = poisoned

    def __len__(self):
        return 37

    def key(self, index):
        return f"point-{index}"

    def __getitem__(self, draw):
        epoch, index = draw
        x = np.random.default_rng((epoch, index)).standard_normal(4).astype(np.float32)
        if draw in self.poisoned:
            x[0] = np.nan
        return {"x": x, "y": x[:1] * 2}


class Regression:
    """A stage that trains a small network with dropout, so that it depends on every draw."""

    name = "regression"
    losses_per_micro_batch = 1

    def __init__(self, fail_at=None):
        torch.manual_seed(0)
        self.trained = self.call = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.modules, self.frozen = nn.ModuleDict({"net": self.trained}), nn.ModuleDict()
        self.fail_at, self.signal_at, self.scores = fail_at, None, None

    def parameter_groups(self):
        named = dict(self.modules.named_parameters())
        return [{"params": list(named.values()), "names": list(named), "lr_scale": 0.5, "weight_decay": 0.1}]

    def operations(self):
        return 0.0

    def losses(self, batch, part):
        if part.progress.step == self.fail_at:
            raise KeyboardInterrupt
        if part.progress.step == self.signal_at:
            os.kill(os.getpid(), signal.SIGUSR1)
        yield (self.call(batch["x"]) - batch["y"]).square().mean(), {"seen": torch.tensor(1.0)}

    def before_update(self, progress):
        pass

    def after_update(self, progress):
        pass

    def probe(self):
        return {"knn_accuracy": self.scores.pop(0) if self.scores else 0.5}

    def pictures(self, progress):
        return {}

    def diagnose(self, metrics, progress):
        return None


def run(folder, **changes):
    values = {"configuration": {"seed": 1}, "loggers": ()} | changes
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
        def losses(self, batch, part):
            self.modules.eval()
            return super().losses(batch, part)

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
    assert [line["step"] for line in lines if "knn_accuracy" in line] == [0, 8, 16]
    assert [line["images_seen"] for line in lines] == [SETTINGS.batch_size * line["step"] for line in lines]
    assert all(line["images_per_second"] > 0 for line in lines if "loss" in line)
    assert all(0 <= line["loader_share"] <= 1 for line in lines if "loss" in line)


def test_metrics_are_means_over_the_parts_of_a_step(tmp_path):
    class Measured(Regression):
        def losses(self, batch, part):
            for loss, _ in super().losses(batch, part):
                yield loss, {"input": batch["x"].mean()}

    for accumulation in (1, 4):
        settings = replace(SETTINGS, accumulation=accumulation)
        Trainer(Measured(), Points(), settings, run(tmp_path / str(accumulation))).train()
    whole, parts = (list(read_metrics(tmp_path / name / "metrics.jsonl")) for name in ("1", "4"))
    values = [[line["input"] for line in lines if "input" in line] for lines in (whole, parts)]
    assert values[0]
    np.testing.assert_allclose(*values, atol=1e-6)


def test_each_advice_is_given_once_with_the_first_finding(tmp_path, caplog):
    class Ill(Regression):
        def diagnose(self, metrics, progress):
            return f"loss is {progress.step}.5: {'wait' if progress.step < 9 else 'lower the rate'}"

    Trainer(Ill(), Points(), SETTINGS, run(tmp_path)).train()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "regression, step 1: loss is 1.5: wait",
        "regression, step 9: loss is 9.5: lower the rate",
    ]


def test_checkpoints_of_another_configuration_are_refused_and_stay(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Trainer(Regression(fail_at=7), Points(), SETTINGS, run(tmp_path)).train()
    other = run(tmp_path, configuration={"seed": 1, "model": {"dim": 2}})
    with pytest.raises(LafsError, match=r"another configuration.*model\.dim \(None -> 2\)"):
        Trainer(Regression(), Points(), SETTINGS, other)
    assert len(list(tmp_path.glob("step-*"))) == 2


def test_a_finished_run_is_taken_as_it_is(tmp_path):
    done = weights(Trainer(Regression(), Points(), SETTINGS, run(tmp_path)).train())
    again = Trainer(Regression(), Points(), SETTINGS, run(tmp_path))
    assert again.start == 16
    assert torch.equal(weights(again.train()), done)


def test_an_extension_starts_where_the_other_ended_on_schedules_of_its_own_length(tmp_path):
    ended = Trainer(Regression(), Points(), SETTINGS, run(tmp_path / "short"))
    short = weights(ended.train()).clone()
    moments = ended.stepper.state()["optimizer"]["state"][0]
    longer = replace(SETTINGS, epochs=6)
    extends = {"configuration": {"seed": 1, "extends": {"training": "0", "step": 16}}}
    paths = [tmp_path / "long", tmp_path / "broken"]

    def extension(path, **changes):
        place = run(path, **extends, extended=tmp_path / "short")
        return Trainer(Regression(**changes), Points(), replace(longer, resume="extend"), place)

    trainer = extension(paths[0])
    assert trainer.start == 16
    assert torch.equal(weights(trainer.stage.modules), short)
    resumed = trainer.stepper.state()["optimizer"]["state"][0]
    assert all(torch.equal(resumed[name], moments[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    unbroken = weights(trainer.train())
    lines = [json.loads(line) for line in (paths[0] / "metrics.jsonl").open()]
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    expected = [*cosine_schedule(0.05, 1e-6, 16, 4), *cosine_schedule(0.05, 1e-6, 24, 4)[16:]]
    np.testing.assert_allclose(rates, expected)
    for step in (17, 20):  # before and after its first own checkpoint
        with pytest.raises(KeyboardInterrupt):
            extension(paths[1], fail_at=step).train()
    assert torch.equal(weights(extension(paths[1]).train()), unbroken)
    assert checkpoints.load_latest(tmp_path / "short").step == 16
    assert (paths[1] / "metrics.jsonl").read_text().count("loss") == 24


def test_a_signal_ends_at_the_next_step_with_a_checkpoint_and_the_rest_is_the_same(tmp_path):
    unbroken = weights(Trainer(Regression(), Points(), SETTINGS, run(tmp_path / "a")).train())
    stage = Regression()
    stage.signal_at = 4
    with pytest.raises(Stopped, match=r"stopped at step 5 of 16 \(SIGUSR1\)"):
        Trainer(stage, Points(), SETTINGS, run(tmp_path / "b")).train()
    resumed = Trainer(Regression(), Points(), SETTINGS, run(tmp_path / "b"))
    assert resumed.start == 5
    assert torch.equal(weights(resumed.train()), unbroken)
    curves = [
        [(line["step"], line["loss"]) for line in map(json.loads, path.open()) if "loss" in line]
        for path in (tmp_path / "a/metrics.jsonl", tmp_path / "b/metrics.jsonl")
    ]
    assert curves[0] == curves[1]


def test_the_time_limit_ends_a_run_likewise(tmp_path):
    class Slow(Regression):
        def after_update(self, progress):
            time.sleep(1.2 * (progress.step == 2))

    with pytest.raises(Stopped, match=r"stopped at step 3 of 16 \(training.max_minutes"):
        Trainer(Slow(), Points(), replace(SETTINGS, max_minutes=1 / 60), run(tmp_path)).train()
    assert checkpoints.load_latest(tmp_path).step == 3


def test_a_step_that_is_not_finite_leaves_everything_as_it_was_and_is_counted(tmp_path, caplog):
    poisoned = next(iter(StepBatches(37, 8, 1, 4, 1, start=5)))[0]
    settings = replace(SETTINGS, checkpoint_every=1)
    Trainer(Regression(), Points(poisoned=[poisoned]), settings, run(tmp_path)).train()
    states = {step: load_file(tmp_path / f"step-{step:08d}/weights.safetensors") for step in (5, 6, 7)}
    assert all(torch.equal(states[5][name], states[6][name]) for name in states[5] if "num_" not in name)
    assert not torch.equal(states[6]["net.0.weight"], states[7]["net.0.weight"])
    assert all(value.isfinite().all() for value in checkpoints.load_latest(tmp_path).weights.values())
    assert "step 5 skipped" in caplog.text
    assert f"point-{poisoned[1]}" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["skipped_steps"] for line in lines if "loss" in line][3:8] == [0, 0, 1, 1, 1]


def test_many_of_them_end_the_run_with_the_last_good_checkpoint(tmp_path):
    poisoned = {draw for batch in StepBatches(37, 8, 1, 4, 1, start=5) for draw in batch}
    settings = replace(SETTINGS, max_skipped=3)
    with pytest.raises(LafsError, match=r"not finite in 3 steps.*point-\d+.*learning_rate"):
        Trainer(Regression(), Points(poisoned=poisoned), settings, run(tmp_path)).train()
    good = checkpoints.load_latest(tmp_path)
    assert all(value.isfinite().all() for value in good.weights.values())


def test_the_best_by_probe_stays(tmp_path):
    stage = Regression()
    stage.scores = [0.1, 0.2, 0.9, 0.4, 0.3]
    Trainer(stage, Points(), replace(SETTINGS, keep_checkpoints=1, probe_every=1), run(tmp_path)).train()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000008", "step-00000016"]


STOPPED = """
import os, signal, sys, threading, importlib.util
from dataclasses import replace
from pathlib import Path
spec = importlib.util.spec_from_file_location("loop_tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
stage = tests.Regression()
stage.signal_at = 4
tests.Trainer(stage, tests.Points(), replace(tests.SETTINGS, workers=2), tests.run(Path(sys.argv[2]))).train()
"""


def test_a_stopped_process_with_loaders_ends(tmp_path):
    """An exception keeps the frames of the loop, and with them the loader, until the interpreter ends."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, __file__, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert "Stopped: regression stopped at step 5 of 16 (SIGUSR1)" in done.stderr
    assert checkpoints.load_latest(tmp_path).step == 5
