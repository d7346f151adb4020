"""What each process of a group computes to be compared with one that has the whole batch."""

import torch
from torch import Tensor, nn

from lafs_pipeline.runtime import processes
from lafs_pipeline.runtime.sync_batch_norm import synchronize_batch_norm

ROUNDS = 3


def small_network() -> nn.Sequential:
    """Two trained layers, one behind the other, and a frozen one."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5, eps=1e-3, momentum=0.3),
        nn.Hardswish(),
        nn.Sequential(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)),
    ).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.5)
    network[3][2].requires_grad_(False)
    return network


def whole_batch(number: int) -> tuple[Tensor, Tensor]:
    """Images (8, 3, 7, 7) far from zero mean and unit variance, and a weight for each output."""
    generator = torch.Generator().manual_seed(number)
    images = 3 * torch.randn(8, 3, 7, 7, generator=generator, dtype=torch.float64)
    return images + torch.arange(8.0)[:, None, None, None], torch.randn(
        8, 4, 3, 3, generator=generator, dtype=torch.float64
    )


def far_from_zero() -> Tensor:
    """Images (8, 2, 7, 7) in float32 whose mean is many times their standard deviation."""
    generator = torch.Generator().manual_seed(0)
    return 300 + 0.05 * torch.randn(8, 2, 7, 7, generator=generator)


def step(network: nn.Module, images: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Output, and gradients of a loss that sums over the samples, by their names."""
    images = images.clone().requires_grad_()
    network.zero_grad()
    out = network(images)
    (out * weights).sum().backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.requires_grad}
    return {"output": out.detach(), "images": images.grad, **gradients}


def train_a_share(_: None) -> list[dict[str, Tensor]] | None:
    """Take the steps with every second sample; in the first process, what they gave for all samples."""
    network, rank, size = small_network(), processes.rank(), processes.world_size()
    names = list(network.state_dict())
    frozen = network[3][2]
    synchronize_batch_norm(network)
    assert list(network.state_dict()) == names
    assert network[3][2] is frozen
    results = []
    network.train()
    frozen.eval()
    for number in range(ROUNDS):
        own = [value[rank::size] for value in whole_batch(number)]
        results.append(_gathered(step(network, *own), size))
    network.eval()
    images, weights = whole_batch(ROUNDS)
    own = step(network, images, weights)
    results += [own, dict(network.state_dict())]
    layer = nn.Sequential(nn.BatchNorm2d(2))
    synchronize_batch_norm(layer)
    results.append(_gathered({"output": layer(far_from_zero()[rank::size]).detach()}, size))
    return results if rank == 0 else None


def _gathered(values: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Samples of all processes in their order; gradients of parameters summed up."""
    found = {}
    for name, value in values.items():
        parts = [processes.broadcast_object(value, source) for source in range(size)]
        if name in ("output", "images"):
            found[name] = torch.stack(parts, dim=1).flatten(0, 1)
        else:
            found[name] = torch.stack(parts).sum(dim=0)
    return found
