"""Which engine a run gets: one process, several with all parameters each, or several with a part each."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..options import MachineOptions
from ..options.option import AUTO
from .base import Engine
from .processes import join
from .replicated import Replicated
from .sharded import FullySharded, resident_bytes
from .single import SingleProcess


def choose_engine(options: MachineOptions, model: Any) -> Engine:
    """The engine of a configuration, in the processes that a launcher has started.

    Args:
        options: Device, precision and sharding.
        model: The model that will be trained; ``sharding=auto`` cuts it where what training holds of it would take more
            than half of a GPU.

    Raises:
        ValueError: The machine has no such device.
        ProcessesError: As `processes.join`.
    """
    group = join(options)
    if group is None:
        return SingleProcess.of(options)
    local = SingleProcess.of(dataclasses.replace(options, device=str(group.device)))
    cuts = options.sharding == "fsdp"
    if options.sharding == AUTO and group.device.type == "cuda":
        _, total = torch.cuda.mem_get_info(group.device)
        cuts = any(group.gather(resident_bytes(model) > total / 2))
    return FullySharded(group, local) if cuts else Replicated(group, local)
