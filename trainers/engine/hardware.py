"""The memory that a run may take on this machine, and the machine's name."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where a run computes.

    Attributes:
        name: Of the GPU or the processor; None for a size that was only named.
        on_gpu: Whether it is a GPU.
        bytes: Of its memory.
    """

    name: str | None
    on_gpu: bool
    bytes: int

    def __str__(self) -> str:
        kind = "GPU" if self.on_gpu else "host memory"
        return f"{self.name or 'a ' + kind} with {gib(self.bytes)}"


def gib(size: float) -> str:
    """Bytes as a person says them: ``11.4 GiB``."""
    return f"{size / 2**30:.1f} GiB"


def parse_size(text: str) -> int:
    """Bytes of ``80GiB``, ``24 GB``, ``512M``.

    Raises:
        ValueError: It is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"expected a size such as 80GiB or 24GB, got {text!r}")
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < 2**20:
        raise ValueError(f"expected a size of at least a mebibyte, such as 80GiB, got {text!r}")
    return size


def this_machine(device: torch.device) -> Hardware:
    """The device that a run of this process computes on."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Hardware(str(properties.name), True, int(properties.total_memory))
    return Hardware(processor_name(), False, host_bytes())


def host_bytes() -> int:
    """Bytes of host memory that this process may take: the machine's, or the limit of its control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(whole, int(Path(path).read_text()))
        except (OSError, ValueError):  # no control group, or "max"
            continue
    return whole


def processor_name() -> str:
    """The processor's name, as the machine gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
