"""What a model costs: its size, and how many images it embeds in a second here."""

import time

import torch
from torch import nn

from lafs_pipeline.evaluation.embeddings import arithmetic
from lafs_pipeline.evaluation.settings import EvaluateSettings
from lafs_pipeline.models.embedding import flip_sum
from lafs_pipeline.models.embedding_file import EmbeddingFile
from lafs_pipeline.models.part_fvit import IMAGE_SIZE
from lafs_pipeline.runtime.processes import local_device

SECONDS = 1.0
"""At least as long is measured, after a first batch."""


@torch.inference_mode()
def measure_cost(
    model: nn.Module | EmbeddingFile, options: EvaluateSettings
) -> tuple[float | None, float | None]:
    """Megabytes of weights, or of the file that holds them, and images a second on one device.

    Images are random ones in batches of `options.batch_size`, embedded as the flag F says; loading and
    decoding are not measured. Of embeddings that were made elsewhere neither is known: (None, None).
    """
    if isinstance(model, EmbeddingFile):
        return None, None
    device = local_device()
    embed = flip_sum(model.to(device).eval()) if options.flip else model.to(device).eval()
    images = torch.rand(options.batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, device=device) * 2 - 1
    count, start = 0, 0.0
    with arithmetic(device, options.arithmetic):
        while not count or time.perf_counter() - start < SECONDS:
            if not start:
                embed(images).cpu()
                start = time.perf_counter()
            embed(images).cpu()  # waits for the device
            count += 1
    rate = count * options.batch_size / (time.perf_counter() - start)
    tensors = [*model.parameters(), *model.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    size += sum(getattr(part, "file_size", 0) for part in model.modules())
    model.cpu()
    return size / 1e6, rate
