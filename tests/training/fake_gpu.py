"""Trainings on a GPU that is not there: tensors without values, with the devices and shapes of a GPU's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda:0")
aten = torch.ops.aten
READS = (
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_consecutive,
    aten.unique_dim,
    aten.equal,
    aten.is_nonzero,
)
"""Operations whose result or its shape the host has to know."""


class HostWaits(TorchDispatchMode):
    """Notes every operation for which the host waits until a GPU has come to it.

    Attributes:
        found: their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [value for value in args if isinstance(value, Tensor)]
        if func.overloadpacket in READS:
            self.found.append(str(func))
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        ):
            self.found.append(f"{func} with a mask")
        if func.overloadpacket is aten._to_copy and not kwargs.get("non_blocking"):
            target = torch.device(kwargs.get("device") or tensors[0].device)
            if {"cpu", "cuda"} == {target.type, tensors[0].device.type}:
                self.found.append(f"{func} from {tensors[0].device.type} to {target.type}")
        kinds = {tensor.device.type for tensor in tensors}
        if func.overloadpacket is aten.copy_ and kinds == {"cpu", "cuda"} and not any(args[2:]):
            self.found.append(f"{func} between devices")
        return func(*args, **kwargs)


@contextmanager
def fake_gpu(monkeypatch) -> Iterator[None]:
    """Inside, tensors have no values, modules stay in place, and a CPU's generator stands for a GPU's.

    Differentiation, which asks for a real GPU, gives every parameter a gradient.
    """

    class GPUGenerator(torch.Generator):
        device = GPU

    monkeypatch.setattr(torch, "Generator", lambda device: GPUGenerator())
    monkeypatch.setattr(nn.Module, "to", lambda module, *_: module)
    with FakeTensorMode():
        yield


def fill_gradients(parameters: list[nn.Parameter]) -> None:
    """What differentiation leaves behind."""
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)


def move(module: nn.Module, known: dict[Tensor, Tensor]) -> None:
    """Give a module parameters and buffers on the GPU; those in common stay in common through `known`."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            if value not in known:
                twin = torch.empty(value.shape, dtype=value.dtype, device=GPU)
                known[value] = nn.Parameter(twin, value.requires_grad)
            setattr(part, name, known[value])
        for name, value in list(part.named_buffers(recurse=False)):
            if value not in known:
                known[value] = torch.empty(value.shape, dtype=value.dtype, device=GPU)
            setattr(part, name, known[value])
