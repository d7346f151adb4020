"""The step of the package against the method written out literally."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.reference import ReferenceStep, as_input, view_batch, whole_batch
from tests.models.trained import as_trained

from lafs_pipeline.models.part_fvit import PartFViT
from lafs_pipeline.objectives.koleo import koleo_loss
from lafs_pipeline.runtime.seeding import derive_seed
from lafs_pipeline.training.sampling import part_rows
from lafs_pipeline.training.self_supervised import PretrainSettings, SelfSupervisedStage
from lafs_pipeline.training.stage import MicroBatch, Progress
from lafs_pipeline.training.step import Stepper

STEPS, BATCH = 20, 4
SIZES = {"dim": 64, "depth": 3, "heads": 3, "head_dim": 16, "mlp_dim": 128, "dropout": 0, "drop_path": 0}
OPTIONS = PretrainSettings(
    prototypes=96, head_hidden_dim=64, head_bottleneck_dim=32, freeze_last_layer_epochs=0
)
OPTIONS = replace(
    OPTIONS,
    views=replace(OPTIONS.views, local_landmarks=6),
    training=replace(OPTIONS.training, batch_size=BATCH, warmup_epochs=0, final_weight_decay=None),
)


def make_stage(options=OPTIONS) -> SelfSupervisedStage:
    torch.manual_seed(0)
    model = as_trained(PartFViT(num_landmarks=16, patch_size=16, landmark_width=0.25, **SIZES))
    return SelfSupervisedStage(model, options, STEPS, 5, None)


def make_reference(stage: SelfSupervisedStage, rate: float = 1e-3) -> ReferenceStep:
    return ReferenceStep(stage.student.model, stage.student.head, stage.options, rate)


def gradients_of(network) -> dict[str, torch.Tensor]:
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


def relative(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("parts", [1, 2])
def test_loss_gradients_and_center_are_those_of_the_literal_step(parts):
    stage = make_stage()
    reference = make_reference(stage)
    batch, progress = view_batch(BATCH, 10), Progress(3, STEPS, 5)
    stage.modules.train()
    total = 0.0
    for index in range(parts):
        rows = part_rows(BATCH, parts, index)
        part = MicroBatch(progress, 7, rows, BATCH)
        for loss, _ in stage.losses({name: value[rows] for name, value in batch.items()}, part):
            (loss / parts).backward()
            total += float(loss.detach()) / parts
    stage.after_update(progress)
    tokens = reference.tokens(as_input(batch, "_clean"), as_input(batch, ""), whole_batch(progress, 7, BATCH))
    expected = reference.backward(tokens, float(stage.temperature[3]))
    assert total == pytest.approx(expected.item(), rel=1e-4)
    found = gradients_of(stage.student.model.transformer) | gradients_of(stage.student.head)
    literal = gradients_of(reference.student.transformer) | gradients_of(reference.student.head)
    assert found.keys() == literal.keys()
    assert max(relative(found[name], literal[name]) for name in literal) < 1e-4
    assert relative(stage.criterion.center, reference.center) < 1e-4


def test_twenty_steps_give_the_curve_and_the_teacher_of_the_literal_step():
    stage = make_stage()
    reference = make_reference(stage, OPTIONS.training.peak_learning_rate())
    training = replace(OPTIONS.training, final_learning_rate=OPTIONS.training.peak_learning_rate())
    stepper = Stepper(stage, training, 0, torch.device("cpu"), [np.arange(BATCH)], STEPS, 5)
    curves: tuple[list, list] = ([], [])
    for step in range(STEPS):
        batch, progress = view_batch(BATCH, 10, seed=step), Progress(step, STEPS, 5)
        seed = derive_seed(0, "pretrain", "step", step)
        curves[0].append(float(stepper([batch], progress)["loss"]))
        curves[1].append(
            reference(
                as_input(batch, "_clean"),
                as_input(batch, ""),
                whole_batch(progress, seed, BATCH),
                float(stage.temperature[step]),
                float(stage.momentum[step]),
            )
        )
    np.testing.assert_allclose(*curves, rtol=0, atol=1e-3)
    assert np.ptp(curves[1]) > 0.05
    mine = stage.teacher.model.transformer.state_dict()
    for name, value in reference.teacher.transformer.state_dict().items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-4)


def test_koleo_is_added_to_each_global_view():
    plain, spread = make_stage(), make_stage(replace(OPTIONS, koleo_weight=0.5))
    batch, part = view_batch(BATCH, 10), whole_batch(Progress(3, STEPS, 5), 7, BATCH)
    losses, logged = {}, {}
    for name, stage in (("plain", plain), ("spread", spread)):
        stage.modules.train()
        losses[name] = []
        for loss, metrics in stage.losses(batch, part):
            losses[name].append(loss.item())
            logged[name] = metrics
    tokens = make_reference(plain).tokens(as_input(batch, "_clean"), as_input(batch, ""), part)
    expected = [koleo_loss(plain.student.model.encode(view)).item() for view in tokens[:2]]
    added = [mine - other for mine, other in zip(losses["spread"], losses["plain"], strict=True)]
    assert added == pytest.approx([0.5 * expected[0], 0.5 * expected[1], 0.0], abs=1e-5)
    assert float(logged["spread"]["koleo"]) == pytest.approx(np.mean(expected), abs=1e-5)
    assert "koleo" not in logged["plain"]


def test_recomputed_activations_change_no_gradient():
    kept = make_stage()
    recomputed = copy.deepcopy(kept)
    recomputed.student.model.transformer.recompute = True
    batch, part = view_batch(2, 10), whole_batch(Progress(0, STEPS, 5), 1, 2)
    for stage in (kept, recomputed):
        stage.call = stage.student
        stage.modules.train()
        for loss, _ in stage.losses(batch, part):
            loss.backward()
    mine, theirs = gradients_of(recomputed.student), gradients_of(kept.student)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
