"""Part fViT and fViT, registered with timm.

Source: Part fViT (Sun and Tzimiropoulos, BMVC 2022, arXiv 2212.00057). `timm.create_model` builds
`part_fvit_{base,small,tiny}_patch8_112` and `fvit_{base,small,tiny}_patch8_112` once this module is
imported; every size can be overridden by keyword. `timm.create_model("local-dir:FOLDER", pretrained=True)`
builds an exported model with its weights.
"""

import inspect
from typing import Any

import timm
from timm.layers import resample_abs_pos_embed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from lafs_pipeline.models.landmark_network import LandmarkNetwork
from lafs_pipeline.models.patches import grid_patches, sample_patches
from lafs_pipeline.models.provenance import Provenance
from lafs_pipeline.models.sizes import SIZES
from lafs_pipeline.models.transformer import FaceTransformer
from lafs_pipeline.runtime.errors import LafsError

IMAGE_SIZE = 112
DATA_CONFIG = {
    "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "num_classes": 0,
}
"""How timm's data transforms bring images to the models' input."""


class FViT(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] -> embeddings (B, dim), with tokens on the plain grid."""

    family = "fvit"
    provenance: Provenance | None = None

    def __init__(
        self,
        patch_size: int = 8,
        dim: int = 768,
        depth: int = 12,
        heads: int = 11,
        head_dim: int = 64,
        mlp_dim: int = 2048,
        dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.sizes = {name: value for name, value in locals().items() if name in _size_names(FViT)}
        self.patch_size = patch_size
        self.transformer = FaceTransformer(
            3 * patch_size**2,
            (IMAGE_SIZE // patch_size) ** 2,
            dim,
            depth,
            heads,
            head_dim,
            mlp_dim,
            dropout,
            drop_path,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Embed images; positions are resampled for images of another size than 112x112, as DINO's."""
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        full = IMAGE_SIZE // self.patch_size
        positions = self.transformer.positions
        if (rows, columns) != (full, full):
            positions = resample_abs_pos_embed(positions, [rows, columns], [full, full])
        return self.transformer(grid_patches(images, self.patch_size), positions)


class PartFViT(nn.Module):
    """Images (B, 3, 112, 112) in [-1, 1] -> embeddings (B, dim), with tokens cut at learned landmarks.

    Args:
        num_landmarks: N, the number of landmarks and tokens.
        patch_size: side of a patch in pixels.
        dim: width of the transformer and of the embedding.
        depth: number of blocks.
        heads: attention heads.
        head_dim: width of a head.
        mlp_dim: hidden width of the MLP.
        dropout: probability after embedding, attention and MLP.
        drop_path: probability of skipping a branch, the same at every depth.
        landmark_width: channel multiplier of the landmark network's trunk.
        landmark_coordinates: how the landmark network scales them, `joint` or `free`.
    """

    family = "part_fvit"
    provenance: Provenance | None = None

    def __init__(
        self,
        num_landmarks: int = 196,
        patch_size: int = 8,
        dim: int = 768,
        depth: int = 12,
        heads: int = 11,
        head_dim: int = 64,
        mlp_dim: int = 2048,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        landmark_width: float = 1.0,
        landmark_coordinates: str = "joint",
    ) -> None:
        super().__init__()
        self.sizes = {name: value for name, value in locals().items() if name in _size_names(PartFViT)}
        self.patch_size = patch_size
        self.landmark_network = LandmarkNetwork(num_landmarks, landmark_width, landmark_coordinates)
        self.transformer = FaceTransformer(
            3 * patch_size**2, num_landmarks, dim, depth, heads, head_dim, mlp_dim, dropout, drop_path
        )

    def landmarks(self, images: Tensor) -> Tensor:
        """Landmarks (B, N, 2), x and y in pixels, differentiable."""
        return self.landmark_network(images)

    def encode(self, tokens: Tensor, indices: Tensor | None = None) -> Tensor:
        """Embed tokens cut at n <= N landmarks.

        Args:
            tokens: (B, n, 3 * patch_size^2).
            indices: (B, n) int64, which landmark each token was cut at, whose position it gets.
                By default tokens get the first n positions in the order given (the authors' code).

        Returns:
            Embeddings (B, dim).
        """
        return self.transformer(tokens, None if indices is None else self.transformer.positions_of(indices))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images."""
        return self.encode(sample_patches(images, self.landmarks(images), self.patch_size))


FAMILIES = {family.family: family for family in (PartFViT, FViT)}
default_cfgs = generate_default_cfgs(
    {f"{family}_{size}_patch8_112": DATA_CONFIG for family in FAMILIES for size in SIZES}
)
"""Read by timm at registration."""


def _size_names(family: type[nn.Module]) -> list[str]:
    return [name for name in inspect.signature(family.__init__).parameters if name != "self"]


def registered_name(model: PartFViT | FViT) -> str:
    """The timm name of a model's family whose width is nearest."""
    nearest = min(SIZES, key=lambda size: abs(SIZES[size]["dim"] - model.sizes["dim"]))
    return f"{model.family}_{nearest}_patch8_112"


def build_model(name: str, sizes: dict[str, Any]) -> PartFViT | FViT:
    """Build a registered model by its timm name.

    Raises:
        LafsError: when the name is not registered or a size is not one of the model's.
    """
    known = [model for family in FAMILIES for model in timm.list_models(f"{family}_*")]
    if name not in known:
        raise LafsError(f"model.name is '{name}'; expected one of {', '.join(sorted(known))}")
    family = PartFViT if name.startswith(PartFViT.family) else FViT
    if unknown := sorted(set(sizes) - set(_size_names(family))):
        raise LafsError(
            f"model.sizes has {', '.join(unknown)}, which {name} does not know; "
            f"its sizes are {', '.join(_size_names(family))}"
        )
    return timm.create_model(name, **sizes)


def _create(family: type[nn.Module], size: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    if pretrained and not options.get("pretrained_cfg"):
        raise LafsError(
            "no pretrained weights are published; train them, or name the folder of an exported model as "
            "`local-dir:FOLDER`"
        )
    name = f"{family.family}_{size}_patch8_112"
    return build_model_with_cfg(
        family,
        name,
        pretrained,
        kwargs_filter=("num_classes", "global_pool", "in_chans"),
        **(SIZES[size] | options),
    )


@register_model
def part_fvit_base_patch8_112(pretrained: bool = False, **options: Any) -> PartFViT:
    """The published size: 67.0 M parameters, 196 landmarks."""
    return _create(PartFViT, "base", pretrained, options)


@register_model
def part_fvit_small_patch8_112(pretrained: bool = False, **options: Any) -> PartFViT:
    """Half the width."""
    return _create(PartFViT, "small", pretrained, options)


@register_model
def part_fvit_tiny_patch8_112(pretrained: bool = False, **options: Any) -> PartFViT:
    """A quarter of the width."""
    return _create(PartFViT, "tiny", pretrained, options)


@register_model
def fvit_base_patch8_112(pretrained: bool = False, **options: Any) -> FViT:
    """The published grid baseline."""
    return _create(FViT, "base", pretrained, options)


@register_model
def fvit_small_patch8_112(pretrained: bool = False, **options: Any) -> FViT:
    """Half the width, on the grid."""
    return _create(FViT, "small", pretrained, options)


@register_model
def fvit_tiny_patch8_112(pretrained: bool = False, **options: Any) -> FViT:
    """A quarter of the width, on the grid."""
    return _create(FViT, "tiny", pretrained, options)
