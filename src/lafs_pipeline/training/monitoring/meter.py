"""How fast a training runs, and what of its device it uses."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lafs_pipeline.runtime import processes

DENSE_BF16 = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
    "T4": 65e12,
}
"""Peak of dense bf16 (fp16 where there is none) in operations a second, by a part of the device's name."""


class Meter:
    """Measures from one log to the next.

    Args:
        device: where the training runs.
        operations: floating-point operations that one image takes.
    """

    def __init__(self, device: torch.device, operations: float) -> None:
        self.device, self.operations, self.peak = device, operations, None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            name = torch.cuda.get_device_name(device)
            self.peak = next(
                (rate for part, rate in DENSE_BF16.items() if part in name.replace("-", " ")), None
            )
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self.started, self.waited, self.images = time.perf_counter(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for the loader."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """What was measured since the last restart, and the next measurement begins.

        Returns:
            `images_per_second` of all processes, `loader_share` of the time that was spent waiting for the
            loader; on a GPU also `peak_memory_gb` of this process so far and, where the device's peak is
            known, `mfu`, the used share of it (0..1).
        """
        spent = time.perf_counter() - self.started
        rate = self.images / spent
        values = {"images_per_second": rate, "loader_share": self.waited / spent}
        if self.device.type == "cuda":
            values["peak_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        if self.peak is not None:
            values["mfu"] = rate * self.operations / (self.peak * processes.world_size())
        self.restart()
        return values
