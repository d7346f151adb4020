import pytest
import torch

from lafs_pipeline.objectives.landmarks import landmark_regularizer, landmark_weight
from lafs_pipeline.runtime.errors import LafsError


def test_regularizer_is_the_mean_square_of_the_shift_as_a_fraction():
    reference = torch.rand(3, 196, 2) * 111
    shift = torch.tensor([11.1, 0.0])
    assert landmark_regularizer(reference + shift, reference).item() == pytest.approx(0.1**2 / 2, rel=1e-4)
    assert landmark_regularizer(reference, reference).item() == 0.0


def test_regularizer_is_float32_and_pulls_towards_the_reference():
    predicted = torch.full((1, 4, 2), 60.0, dtype=torch.bfloat16, requires_grad=True)
    loss = landmark_regularizer(predicted, torch.full((1, 4, 2), 50.0))
    loss.backward()
    assert loss.dtype == torch.float32
    assert (predicted.grad > 0).all()


def test_weights_fall_at_the_authors_epochs():
    expected = [1000] * 8 + [100] * 6 + [1] * 7 + [0.11] * 7 + [0] * 6
    assert [landmark_weight(epoch / 34) for epoch in range(34)] == expected
    around_bounds = (799, 800, 1399, 1400, 2099, 2100, 2799, 2800, 3400)
    weights = [landmark_weight(step / 3400) for step in around_bounds]
    assert weights == [1000, 100, 100, 1, 1, 0.11, 0.11, 0, 0]


@pytest.mark.parametrize("progress", [-0.01, 1.01, float("nan")])
def test_a_progress_outside_training_is_refused(progress):
    with pytest.raises(LafsError, match="fraction of training"):
        landmark_weight(progress)
