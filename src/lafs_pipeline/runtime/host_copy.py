"""Values that are read while the device goes on."""

import numpy as np
import torch


class HostCopy:
    """A tensor on its way into host memory.

    Reading waits for what was sent to the device before the copy, and for nothing that was sent after it.

    Args:
        tensor: on any device; of a CPU's tensor no copy is made.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        # To a CPU, non_blocking takes pinned memory.
        self._copy, self._arrived = tensor.detach().to("cpu", non_blocking=True), None
        if tensor.device.type == "cuda":
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def numpy(self) -> np.ndarray:
        """Its values."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copy.numpy()
