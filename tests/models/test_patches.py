import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lafs_pipeline.models.patches import grid_patches, sample_patches


def bilinear_patch(image, x, y, size):
    """The definition, pixel by pixel: (H, W, C) -> (size, size, C), x offset first."""
    height, width, channels = image.shape
    out = np.zeros((size, size, channels))
    for i in range(size):
        for j in range(size):
            column, row = x + i - size // 2 - 0.5, y + j - size // 2 - 0.5
            left, top = int(np.floor(column)), int(np.floor(row))
            for dx in (0, 1):
                for dy in (0, 1):
                    if 0 <= left + dx < width and 0 <= top + dy < height:
                        weight = (1 - abs(column - left - dx)) * (1 - abs(row - top - dy))
                        out[i, j] += weight * image[top + dy, left + dx]
    return out


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-20, 130), y=st.floats(-20, 130), size=st.sampled_from([2, 8, 16]), seed=st.integers(0, 99)
)
def test_a_patch_is_its_definition(x, y, size, seed):
    image = np.random.default_rng(seed).standard_normal((112, 112, 3))
    tokens = sample_patches(
        torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([[[x, y]]], dtype=torch.float64), size
    )
    np.testing.assert_allclose(tokens[0, 0].numpy(), bilinear_patch(image, x, y, size).ravel(), atol=1e-9)


def test_landmarks_at_half_pixels_cut_plain_crops():
    image = torch.rand(1, 3, 112, 112)
    tokens = sample_patches(image, torch.tensor([[[20.5, 50.5]]]))
    crop = image[0, :, 46:54, 16:24].permute(2, 1, 0)
    torch.testing.assert_close(tokens[0, 0], crop.flatten(), atol=1e-5, rtol=0)


def test_gradients_reach_the_landmarks():
    image = torch.rand(1, 3, 112, 112, dtype=torch.float64)
    landmarks = torch.tensor([[[30.2, 40.7], [80.1, 20.4]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda points: sample_patches(image, points, 2), landmarks)


def test_grid_patches_are_rows_of_crops():
    image = torch.rand(2, 3, 48, 112)
    tokens = grid_patches(image, 16)
    assert tokens.shape == (2, 21, 768)
    crop = image[1, :, 16:32, 32:48].permute(1, 2, 0)
    torch.testing.assert_close(tokens[1, 7 + 2], crop.flatten())


def test_bilinear_sampling_agrees_with_opencv():
    image = np.random.default_rng(0).random((112, 112), dtype=np.float32)
    x, y = 40.3, 61.8
    tokens = sample_patches(torch.from_numpy(image)[None, None], torch.tensor([[[x, y]]]))
    columns, rows = np.meshgrid(np.arange(-4, 4) + x - 0.5, np.arange(-4, 4) + y - 0.5)
    expected = cv2.remap(image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    np.testing.assert_allclose(tokens[0, 0].reshape(8, 8).T.numpy(), expected, atol=0.02)
