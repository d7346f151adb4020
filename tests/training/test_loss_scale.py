"""In fp16 the scale of the loss is looked for while the training runs, which is nobody's fault."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tests.training.test_loop import SETTINGS, Points, Regression, run

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.metric_loggers import read_metrics
from lafs_pipeline.training import checkpoints
from lafs_pipeline.training.loop import Trainer
from lafs_pipeline.training.sampling import StepBatches

FIRST_SCALE = 2.0**16
HALF = replace(SETTINGS, precision="fp16", max_skipped=3, checkpoint_every=1, epochs=6)


class Steep(Points):
    """Targets so large that the gradients fit fp16 with a small loss scale only."""

    def __getitem__(self, draw):
        batch = super().__getitem__(draw)
        return {**batch, "y": batch["y"] * 100}


def lines(folder):
    return [line for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def test_the_search_blames_no_image_and_changes_nothing_but_the_scale(tmp_path, caplog):
    Trainer(Regression(), Steep(), HALF, run(tmp_path)).train()
    scales = [line["loss_scale"] for line in lines(tmp_path)]
    searched = next(step for step, scale in enumerate(scales) if scale == scales[step + 1])
    assert scales[0] == FIRST_SCALE
    assert searched > HALF.max_skipped
    assert scales[: searched + 1] == [FIRST_SCALE / 2**step for step in range(searched + 1)]
    assert all(line["skipped_steps"] == 0 for line in lines(tmp_path))
    assert "skipped" not in caplog.text
    states = [load_file(path / "weights.safetensors") for path in sorted(tmp_path.glob("step-*"))]
    first, last, after = states[0], states[searched - 1], states[searched]
    assert all(torch.equal(first[name], last[name]) for name in first if "num_" not in name)
    assert not torch.equal(last["net.0.weight"], after["net.0.weight"])


def test_a_loss_that_is_not_finite_counts_whatever_the_scale(tmp_path):
    poisoned = {draw for batch in StepBatches(37, 8, 1, 6, 1, start=1) for draw in batch}
    with pytest.raises(LafsError, match=r"not finite in 3 steps.*up to step 3.*point-\d+"):
        Trainer(Regression(), Points(poisoned=poisoned), HALF, run(tmp_path)).train()
    assert all(value.isfinite().all() for value in checkpoints.load_latest(tmp_path).weights.values())


def test_gradients_that_no_scale_makes_finite_count_once_it_has_come_down_to_1(tmp_path):
    class Broken(Regression):
        def before_update(self, progress):
            self.modules["net"][0].weight.grad.fill_(torch.nan)

    with pytest.raises(LafsError, match=r"not finite in 3 steps.*up to step 18"):
        Trainer(Broken(), Points(), HALF, run(tmp_path)).train()
