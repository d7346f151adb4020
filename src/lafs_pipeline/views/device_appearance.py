"""The appearance of many views at once, in torch: each has its own draws, all go through the same kernels.

Images are float32 tensors (N, H, 3, W) of gray levels in 0..255. Each row holds its three channels one after
the other, so that one matrix for each image blurs its columns, or its rows, without a copy. The operations
are torchvision's for float images; jittering overwrites the images it is given. What is not to be done to an
image is done with a neutral number: leaving it out would make shapes or the host's next step depend on the
draws.
"""

import torch

from lafs_pipeline.views.render import LUMA, SOLARIZE_THRESHOLD

WHITE = 255.0
CONTRAST, SATURATION, HUE = 1, 2, 3
"""Places among the jitter factors; brightness has place 0."""
SMALLEST_SIGMA = 1e-3
"""A Gaussian of this many pixels leaves an image as it is."""
SMALLEST_CHROMA = 1e-6
"""Divides the hue of a gray pixel, which is 0."""


def jitter_and_gray(
    images: torch.Tensor,
    jitters: torch.Tensor,
    factors: torch.Tensor,
    orders: torch.Tensor,
    grays: torch.Tensor,
) -> torch.Tensor:
    """Jitter brightness, contrast, saturation and hue in each image's order, then turn to gray what shall be.

    All but the hue move an image towards black, its mean gray level or its gray levels. Three such blends
    before the one turn of the hue and three after it hold every order; a blend on the wrong side has the
    share 0. Gray is a fourth blend after the hue.

    Args:
        images: (N, H, 3, W) gray levels.
        jitters: (N,) whether the colors are jittered.
        factors: (N, 4) brightness, contrast and saturation factor, hue shift as a share of the circle.
        orders: (N, 4) the order of those four.
        grays: (N,) whether the image turns gray.
    """
    kinds = torch.nn.functional.pad(orders, (0, 1), value=SATURATION)
    shares = (1.0 - factors.gather(1, orders)) * (jitters[:, None] & (orders != HUE))
    shares = torch.cat([shares, grays[:, None]], dim=1)
    late = (kinds == HUE).cumsum(dim=1)
    early_shares, late_shares = shares * (1 - late), shares * late
    to_mean, to_gray = kinds == CONTRAST, kinds == SATURATION
    for place in (0, 1, 2):
        images = _blend(images, early_shares[:, place], to_mean[:, place], to_gray[:, place])
    images = shift_hue(images, factors[:, HUE] * jitters)
    for place in (1, 2, 3, 4):
        images = _blend(images, late_shares[:, place], to_mean[:, place], to_gray[:, place])
    return images


def _blend(
    images: torch.Tensor, shares: torch.Tensor, to_mean: torch.Tensor, to_gray: torch.Tensor
) -> torch.Tensor:
    """Move images (N, H, 3, W) by a share (N,) towards their mean gray level, their gray levels or black."""
    shares, to_mean, to_gray = (row[:, None, None, None] for row in (shares, to_mean, to_gray))
    red, green, blue = images.split(1, dim=2)
    # Luma weights sum to one, so two interpolations weigh the three channels.
    gray = torch.lerp(red, green, LUMA[1] / (LUMA[0] + LUMA[1])).lerp_(blue, LUMA[2])
    target = torch.where(to_gray, gray, to_mean * gray.mean(dim=(1, 3), keepdim=True))
    return images.lerp_(target, shares).clamp_(0.0, WHITE)


def shift_hue(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Turn the hue in HSV, which keeps the largest and the smallest value of a pixel.

    Args:
        images: (N, H, 3, W) gray levels.
        shifts: (N,) -0.5..0.5, shares of the circle.
    """
    red, green, blue = images.unbind(dim=2)
    high, low = images.amax(dim=2), images.amin(dim=2)
    chroma = high - low
    not_red = torch.where(
        high == green, (blue - red).add_(chroma, alpha=2.0), (red - green).add_(chroma, alpha=4.0)
    )
    sextants = torch.where(high == red, green - blue, not_red)
    hue = torch.addcdiv(6.0 * shifts[:, None, None], sextants, chroma.clamp(min=SMALLEST_CHROMA))
    starts = torch.arange(5, 0, -2, device=images.device)[:, None]
    from_complement = (hue[:, :, None] + starts).remainder_(6.0).sub_(2.0).abs_()
    shares = from_complement.sub_(1.0).clamp_(0.0, 1.0)
    return torch.addcmul(low[:, :, None], chroma[:, :, None], shares, out=images)


def blur(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Blur with Gaussians that are not cut off; the border repeats.

    Args:
        images: (N, S, 3, S) gray levels, square.
        sigmas: (N,) standard deviations in pixels, 0 for none.
    """
    count, size = images.shape[:2]
    kernels = _blur_matrices(sigmas, size)
    columns_done = torch.bmm(kernels, images.view(count, size, 3 * size)).view(count, size * 3, size)
    return torch.bmm(columns_done, kernels.transpose(1, 2)).view_as(images)


def _blur_matrices(sigmas: torch.Tensor, size: int) -> torch.Tensor:
    """(N, size, size): the weight of every pixel in every blurred pixel.

    What lies beyond the image has the value of its border pixel, whose weight is therefore a whole tail.
    """
    offsets = torch.arange(1 - size, size, device=sigmas.device)
    exponents = (offsets / sigmas.clamp(min=SMALLEST_SIGMA)[:, None]).square_().mul_(-0.5)
    weights = exponents.softmax(dim=1)
    matrices = weights.unfold(1, size, 1).flip(1)
    tails = weights[:, :size] @ weights.new_ones(size, size).triu()
    matrices[:, :, 0] = tails.flip(1)
    matrices[:, :, -1] = tails
    return matrices


def solarize(images: torch.Tensor, solarizes: torch.Tensor) -> torch.Tensor:
    """Invert the values from 128 upwards.

    Args:
        images: (N, H, 3, W) gray levels.
        solarizes: (N,) whether to.
    """
    bright = images >= SOLARIZE_THRESHOLD
    return torch.where(bright.logical_and_(solarizes[:, None, None, None]), WHITE - images, images)
