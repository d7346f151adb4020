"""A face model as one ONNX graph: images in, embeddings out, landmarks and patches inside.

Needs the packages of the extra `onnx`: onnx and onnxscript to write, onnxruntime to check and to run.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from lafs_pipeline.interop.onnx_model import OnnxModel, require_packages
from lafs_pipeline.models.part_fvit import IMAGE_SIZE, FViT, PartFViT
from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.files import whole_file

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
INPUT, OUTPUT = "images", "embeddings"
TOLERANCE = 1e-4
"""Greatest difference of an embedding's numbers, which a LayerNorm holds near 1, from those of PyTorch."""
CHECKED_BATCHES = (1, 3)


def export_onnx(model: PartFViT | FViT, path: Path | str, metadata: Mapping[str, str] | None = None) -> None:
    """Write a face model as ONNX, atomically, after onnxruntime has given the same embeddings.

    The graph takes `images` (B, 3, 112, 112) float32 in [-1, 1] for any B and gives `embeddings` (B, dim).
    All weights lie in the one file.

    Raises:
        LafsError: a package is missing, or the embeddings differ by more than `TOLERANCE`.
    """
    require_packages(PACKAGES)
    model.eval()
    size = (2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (torch.zeros(size),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    program.model.metadata_props.update(metadata or {})
    with whole_file(path) as temporary:
        program.save(temporary, external_data=False)
        difference = largest_difference(model, OnnxModel(temporary))
        if not difference <= TOLERANCE:
            raise LafsError(
                f"the ONNX graph for {path} gives embeddings that differ from PyTorch's by {difference:.2g}, "
                f"more than {TOLERANCE:g}; the versions of {', '.join(PACKAGES)} and torch may not fit"
            )


@torch.inference_mode()
def largest_difference(model: nn.Module, exported: OnnxModel) -> float:
    """Greatest absolute difference of the two models' embeddings of random images, at several batch sizes."""
    generator = torch.Generator().manual_seed(0)
    size = (3, IMAGE_SIZE, IMAGE_SIZE)
    batches = [torch.rand(count, *size, generator=generator) * 2 - 1 for count in CHECKED_BATCHES]
    return max(float((model(images) - exported(images)).abs().max()) for images in batches)
