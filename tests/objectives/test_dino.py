import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from lafs_pipeline.objectives.dino import DINOLoss, teacher_entropy
from lafs_pipeline.runtime.errors import LafsError

PROTOTYPES = 48


def made_up_logits(views: int, batch: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(views * batch, PROTOTYPES, generator=generator)
    teacher = torch.randn(2 * batch, PROTOTYPES, generator=generator)
    return student, teacher


def literal_loss(student, teacher, center, batch, teacher_temperature, student_temperature=0.1):
    """One cross-entropy a pair of different views, in float64."""
    student, teacher, center = student.double(), teacher.double(), center.double()
    terms = []
    for t, teacher_view in enumerate(teacher.split(batch)):
        target = torch.softmax((teacher_view - center) / teacher_temperature, dim=1)
        for s, student_view in enumerate(student.split(batch)):
            if s != t:
                log_probability = torch.log_softmax(student_view / student_temperature, dim=1)
                terms.append(-(target * log_probability).sum(dim=1).mean())
    return torch.stack(terms).mean()


def test_reference_calls_are_met(parity_dir):
    data = np.load(parity_dir / "dino_loss.npz")
    loss = DINOLoss(data["student"].shape[-1])
    for call in range(4):
        student, teacher = (torch.from_numpy(data[name][call]) for name in ("student", "teacher"))
        value = loss(student, teacher, float(data["teacher_temp"][call]))
        assert value.item() == pytest.approx(data["loss"][call], abs=2e-4)
        np.testing.assert_allclose(loss.center.numpy(), data["center"][call], rtol=0, atol=2e-4)


@pytest.mark.parametrize("views", [2, 3, 10])
def test_loss_and_gradient_equal_one_term_a_pair(views):
    student, teacher = made_up_logits(views)
    loss = DINOLoss(PROTOTYPES)
    loss.center.normal_(generator=torch.Generator().manual_seed(1))
    mine, theirs = (student.clone().requires_grad_() for _ in range(2))
    teacher.requires_grad_()
    expected = literal_loss(theirs, teacher, loss.center.clone(), 3, 0.05)
    value = loss(mine, teacher, 0.05)
    value.backward()
    expected.backward(inputs=theirs)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    assert teacher.grad is None


def test_low_precision_logits_are_computed_in_float32():
    student, teacher = (logits.bfloat16() for logits in made_up_logits(4))
    with torch.autocast("cpu", torch.bfloat16):
        value = DINOLoss(PROTOTYPES)(student, teacher, 0.04)
    assert value.dtype == torch.float32
    expected = literal_loss(student, teacher, torch.zeros(1, PROTOTYPES), 3, 0.04)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_center_moves_after_the_loss_and_only_in_training():
    student, teacher = made_up_logits(4)
    loss = DINOLoss(PROTOTYPES, center_momentum=0.7)
    first = loss(student, teacher, 0.04)
    assert first.item() == pytest.approx(
        literal_loss(student, teacher, torch.zeros(1, PROTOTYPES), 3, 0.04).item(), rel=1e-5
    )
    torch.testing.assert_close(loss.center, 0.3 * teacher.mean(dim=0, keepdim=True))
    after_one = loss.center.clone()
    loss.eval()(student, teacher, 0.04)
    torch.testing.assert_close(loss.center, after_one, rtol=0, atol=0)
    torch.testing.assert_close(DINOLoss(PROTOTYPES).state_dict()["center"], torch.zeros(1, PROTOTYPES))


RANK_SCRIPT = """
import sys, torch, torch.distributed as dist
from lafs_pipeline.objectives.dino import DINOLoss
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
loss = DINOLoss(4)
loss(torch.zeros(6, 4), torch.full((4, 4), float(10 + 20 * rank)), 0.04)
print(loss.center.tolist())
dist.destroy_process_group()
"""


def test_center_is_the_mean_over_all_ranks(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK_SCRIPT, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [rank.communicate(timeout=120)[0].strip() for rank in ranks]
    assert printed[0] == printed[1]
    np.testing.assert_allclose(json.loads(printed[0]), [[2.0] * 4], atol=1e-6)


def test_teacher_entropy_tells_uniform_from_one_hot():
    loss = DINOLoss(PROTOTYPES)
    loss.center.fill_(2.0)
    uniform = teacher_entropy(loss.targets(torch.zeros(4, PROTOTYPES), 0.04))
    assert uniform.item() == pytest.approx(math.log(PROTOTYPES), rel=1e-6)
    assert teacher_entropy(loss.targets(100 * torch.eye(PROTOTYPES), 0.04)).item() == 0.0
    two = torch.zeros(2, PROTOTYPES)
    two[:, :2] = 100
    assert teacher_entropy(loss.targets(two, 0.1)).item() == pytest.approx(math.log(2), rel=1e-6)


def test_parts_of_the_views_add_up_to_the_loss():
    student, teacher = made_up_logits(6)
    loss = DINOLoss(PROTOTYPES).eval()
    targets = loss.targets(teacher, 0.05)
    parts = [(0, 1), (1, 2), (2, 3), (3, 6)]
    total = sum(loss.partial(student[3 * a : 3 * b], targets, a, 6).item() for a, b in parts)
    assert total == pytest.approx(loss(student, teacher, 0.05).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("student_rows", "teacher_rows", "width"), [(7, 6, 48), (6, 5, 48), (3, 6, 48), (12, 6, 47), (4, 0, 48)]
)
def test_logits_that_are_not_view_major_batches_are_refused(student_rows, teacher_rows, width):
    with pytest.raises(LafsError, match=r"\(2 \* B, 48\)"):
        DINOLoss(PROTOTYPES)(torch.zeros(student_rows, width), torch.zeros(teacher_rows, width), 0.04)
