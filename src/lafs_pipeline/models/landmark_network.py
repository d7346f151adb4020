"""Landmark network of Part fViT: a MobileNetV3-large trunk that regresses N facial landmarks.

Source: Part fViT (arXiv 2212.00057, section 3.1). The trunk differs from torchvision's and timm's
`mobilenetv3_large_100`: the first bottleneck keeps its expansion convolution, squeeze-excite stands
between the depthwise BatchNorm and the activation and has no biases, and there is no 960-channel layer.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import make_divisible
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import Conv2dNormActivation

from lafs_pipeline.faces import FACE_SIZE
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.runtime.errors import LafsError

BOTTLENECKS = (
    # kernel, expansion, out, squeeze-excite, activation, stride
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
)
STEM_CHANNELS = 16
SMALLEST_SPAN = 1e-6
MESH_BORDER = 8.0
"""Pixels between the mesh and the border of an aligned face."""
COORDINATES = ("joint", "free")


class SqueezeExcite(nn.Module):
    """Channel gates from the global average: ReLU, hard-sigmoid, no biases, a quarter of the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // 4, bias=False)
        self.expand = nn.Linear(channels // 4, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x` (B, C, H, W)."""
        gate = F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


class Bottleneck(nn.Module):
    """Expand, depthwise, gate, activate, project; a residual where the shapes allow it."""

    def __init__(
        self,
        channels: int,
        kernel: int,
        expanded: int,
        out_channels: int,
        squeeze_excite: bool,
        activation: type[nn.Module],
        stride: int,
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and channels == out_channels
        self.expand = Conv2dNormActivation(channels, expanded, 1, activation_layer=activation)
        self.depthwise = Conv2dNormActivation(
            expanded, expanded, kernel, stride, groups=expanded, activation_layer=None
        )
        self.gate = SqueezeExcite(expanded) if squeeze_excite else nn.Identity()
        self.activation = activation(inplace=True)
        self.project = Conv2dNormActivation(expanded, out_channels, 1, activation_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        out = self.project(self.activation(self.gate(self.depthwise(self.expand(x)))))
        return x + out if self.residual else out


def normalize_landmarks(theta: Tensor, size: int) -> Tensor:
    """Scale raw coordinates so that they span the image (Part fViT, section 3.1).

    The minimum and maximum are taken jointly over all 2N values of a sample. A sample whose values
    are all equal gives landmarks at 0.

    Args:
        theta: raw coordinates (B, 2N), x and y alternating.
        size: width of the square image in pixels.

    Returns:
        Landmarks (B, N, 2) in pixels, 0 to `size - 1`.
    """
    # Not `aminmax`, which torch 2.11 cannot differentiate.
    low, high = theta.amin(dim=1, keepdim=True), theta.amax(dim=1, keepdim=True)
    span = (high - low).clamp_min(SMALLEST_SPAN)
    return ((theta - low) / span * (size - 1)).unflatten(1, (-1, 2))


def grid_landmarks(count: int, low: float = 0.0, high: float = FACE_SIZE - 1.0) -> Tensor:
    """Points row by row on a grid over the image, as square as their number allows.

    Args:
        count: of the points.
        low: x of the first column and y of the first row in pixels of the 112 px image.
        high: x of the last column and y of the last row.

    Returns:
        Landmarks (count, 2), x and y in pixels.
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    point = torch.arange(count)
    x, y = point % columns / max(columns - 1, 1), point // columns / max(rows - 1, 1)
    return low + torch.stack((x, y), dim=1) * (high - low)


def mesh_landmarks(count: int) -> Tensor:
    """The points (count, 2) of an aligned face, in pixels, that a network with free coordinates looks for."""
    return grid_landmarks(count, MESH_BORDER, FACE_SIZE - MESH_BORDER)


class LandmarkNetwork(nn.Module):
    """Images (B, 3, H, H) in [-1, 1] -> landmarks (B, N, 2), x and y in pixels, 0 to H - 1.

    Fresh, it predicts the same grid for every image: since coordinates are normalized jointly, the scale of
    the raw ones says how far a step of the optimizer moves them, and raw coordinates in pixels move little.

    Args:
        num_landmarks: N.
        width: channel multiplier of the trunk; 1.0 is the published network (2.8 M parameters).
        coordinates: `joint` scales the raw ones to span the image, as the paper; `free` takes them as pixels
            of the 112 px image, so that landmarks may leave a view that does not show them.

    Raises:
        LafsError: `coordinates` is neither.
    """

    family = "landmark_network"
    provenance: Provenance | None = None

    def __init__(self, num_landmarks: int = 196, width: float = 1.0, coordinates: str = "joint") -> None:
        super().__init__()
        if coordinates not in COORDINATES:
            raise LafsError(f"coordinates is '{coordinates}'; expected one of {', '.join(COORDINATES)}")
        self.sizes: dict[str, Any] = {
            "num_landmarks": num_landmarks,
            "width": width,
            "coordinates": coordinates,
        }
        self.coordinates = coordinates

        def scaled(channels: int) -> int:
            return channels if width == 1.0 else make_divisible(channels * width, 8)

        channels = scaled(STEM_CHANNELS)
        layers: list[nn.Module] = [
            Conv2dNormActivation(3, channels, 3, stride=2, activation_layer=nn.Hardswish)
        ]
        for kernel, expanded, out, gated, activation, stride in BOTTLENECKS:
            layers.append(
                Bottleneck(channels, kernel, scaled(expanded), scaled(out), gated, activation, stride)
            )
            channels = scaled(out)
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.5)
        self.regressor = nn.Linear(channels, 2 * num_landmarks)
        nn.init.zeros_(self.regressor.weight)
        with torch.no_grad():
            start = grid_landmarks if coordinates == "joint" else mesh_landmarks
            self.regressor.bias.copy_(start(num_landmarks).flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Predict landmarks; float32 from the regression on, whatever the autocast precision."""
        # The layout that convolutions and BatchNorm are quickest in; what follows keeps it.
        pooled = self.features(images.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))
        with torch.autocast(images.device.type, enabled=False):
            theta = self.regressor(self.dropout(pooled.float()))
            size = images.shape[-1]
            if self.coordinates == "free":
                return (theta * (size / FACE_SIZE)).unflatten(1, (-1, 2))
            return normalize_landmarks(theta, size)


class MirroredLandmarks(nn.Module):
    """Images (B, 3, H, H) -> (B, 4N): landmarks of the image, then of its mirror image, x and y alternating.

    Args:
        network: finds them; a frozen copy is kept.
    """

    def __init__(self, network: LandmarkNetwork) -> None:
        super().__init__()
        self.network = frozen_network(network)

    def forward(self, images: Tensor) -> Tensor:
        """Find landmarks."""
        both = (self.network(images), self.network(images.flip(-1)))
        return torch.cat([landmarks.flatten(1) for landmarks in both], dim=1)


def frozen_network(network: LandmarkNetwork) -> LandmarkNetwork:
    """A copy for inference: in eval mode, without gradients, its BatchNorms folded into the convolutions.

    Landmarks differ from those of `network` in eval mode by rounding alone; a quarter of the time is saved
    on a CPU.
    """
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    for layer in frozen.modules():
        if isinstance(layer, Conv2dNormActivation):
            layer[0], layer[1] = fuse_conv_bn_eval(layer[0], layer[1]), nn.Identity()
    return frozen
