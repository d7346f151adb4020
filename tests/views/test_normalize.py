import numpy as np
import pytest
import torch
from torchvision.transforms.functional import normalize, to_tensor

from lafs_pipeline.views.normalize import to_input


def test_a_single_image_as_torchvision_normalizes_it(noise_picture):
    reference = normalize(to_tensor(noise_picture), [0.5] * 3, [0.5] * 3)
    torch.testing.assert_close(to_input(torch.from_numpy(noise_picture)), reference)


@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_leading_dimensions_stay_and_the_range_is_minus_one_to_one(leading):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (*leading, 6, 5, 3), dtype=np.uint8))
    images[..., 0, 0, :], images[..., 0, 1, :] = 0, 255
    result = to_input(images)
    assert result.shape == (*leading, 3, 6, 5)
    assert result.dtype == torch.float32
    assert result.movedim(-3, -1).is_contiguous()
    assert (result.min(), result.max()) == (-1.0, 1.0)
