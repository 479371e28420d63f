"""What a device can do at most, measured: its fastest matrix product, and its fastest reading of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from trainers.cli.doctor_memory import reset_peak, resident
from trainers.engine.hardware import this_machine


@dataclass(frozen=True, slots=True)
class Device:
    """Where the drill runs, in which precision, and its clock.

    On a GPU the clock is wall time once all work is done; on a CPU, where others compute too, CPU seconds.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The card's name, or the processor's."""
        return str(this_machine(self.device).name)

    def clock(self) -> float:
        """Seconds."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    def seconds(self, work: Callable[[], object], *, repeats: int = 3) -> float:
        """The fastest of some runs of `work`, after one that does not count."""
        work()
        found = []
        for _ in range(repeats):
            start = self.clock()
            work()
            found.append(self.clock() - start)
        return min(found)

    def begin_peak(self) -> int:
        """Begin to watch memory anew; returns the bytes that are held now."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return int(torch.cuda.memory_allocated(self.device))
        reset_peak()
        return resident("VmRSS")

    def peak(self) -> int:
        """The most bytes since `begin_peak`: of the allocator on a GPU, resident on a CPU."""
        return int(torch.cuda.max_memory_allocated(self.device)) if self.on_gpu else resident("VmHWM")


def peaks(device: Device, *, size: int, megabytes: int) -> dict[str, Any]:
    """Operations per second of a large matrix product, and bytes per second of reading.

    Args:
        device: The device.
        size: Rows and columns of the matrices.
        megabytes: Of the tensor that is read.
    """
    left = torch.randn(size, size, device=device.device, dtype=device.dtype)
    right = torch.randn(size, size, device=device.device, dtype=device.dtype)
    product = device.seconds(lambda: left @ right)
    read = torch.ones(megabytes << 18, device=device.device, dtype=torch.float32)
    reading = device.seconds(lambda: read.sum())
    return {"matmul_flops": 2.0 * size**3 / product, "read_bytes": (megabytes << 20) / reading}
