"""Batch normalization over the batch of all processes, on CPUs and GPUs.

torch's SyncBatchNorm runs on accelerators alone, where it makes the host wait three times a layer, because
batches may differ in size. Those of a step are equal, so one differentiable all-reduce gives the statistics.
"""

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
import torch.nn.functional as F
from torch import Tensor, nn


class SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all processes' batches, of equal size."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W); statistics are float32 (or more), whatever the autocast precision."""
        if not self.training:
            return super().forward(x)
        size, rank = dist.get_world_size(), dist.get_rank()
        full = x.to(self.weight.dtype)
        own = torch.stack(torch.var_mean(full, dim=(0, 2, 3), correction=0))[None]
        placed = F.pad(own, (0, 0, 0, 0, rank, size - rank - 1))
        variances, means = differentiable.all_reduce(placed).unbind(1)
        mean = means.mean(dim=0)
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        count = x.numel() // x.shape[1] * size
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (full * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(x.dtype)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Make the trained BatchNorm layers inside `module` use the batches of all processes.

    Parameters and buffers stay the same objects with the same names; frozen layers stay as they are.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and child.weight.requires_grad:
            module.add_module(name, _synchronized(child))
        else:
            synchronize_batch_norm(child)


def _synchronized(layer: nn.BatchNorm2d) -> nn.Module:
    twin = SyncBatchNorm(layer.num_features, layer.eps, layer.momentum)
    twin.weight, twin.bias = layer.weight, layer.bias
    for name, value in layer.named_buffers():
        twin.register_buffer(name, value)
    return twin.train(layer.training)
