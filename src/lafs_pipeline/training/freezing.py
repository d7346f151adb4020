"""Parts of a face model stay as they are while the rest is trained."""

from lafs_pipeline.models.part_fvit import FViT, PartFViT
from lafs_pipeline.runtime.errors import LafsError


def freeze(model: PartFViT | FViT, landmark_network: bool, blocks: int) -> None:
    """Make a model trainable but for the frozen parts.

    Args:
        model: is changed.
        landmark_network: whether its landmark network is frozen; a model on the grid has none.
        blocks: how many blocks are, from the first on. With one or more of them goes what stands before: the
            patch embedding, the class token and the positions.

    Raises:
        LafsError: more blocks than the model has.
    """
    transformer = model.transformer
    if blocks > len(transformer.blocks):
        raise LafsError(
            f"freeze_blocks is {blocks}, but the transformer has {len(transformer.blocks)} blocks; freeze "
            "that many at most"
        )
    model.requires_grad_(True)
    if landmark_network and isinstance(model, PartFViT):
        model.landmark_network.requires_grad_(False)
    if blocks:
        first = (transformer.patch_embedding, transformer.class_token, transformer.positions)
        for part in (*first, *transformer.blocks[:blocks]):
            part.requires_grad_(False)
