"""Which engine a run gets: one process, several with all parameters each, or several with a part each."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ..options import MachineOptions, Options
from ..options.option import AUTO
from .base import Engine
from .processes import join
from .replicated import Replicated
from .sharded import FullySharded, resident_bytes
from .single import SingleProcess


def local_engine(options: MachineOptions) -> SingleProcess:
    """How this process computes: alone, or as one of several.

    Raises:
        ValueError: The machine has no such device.
        ProcessesError: As `processes.join`.
    """
    group = join(options)
    return SingleProcess.of(options if group is None else dataclasses.replace(options, device=str(group.device)))


def choose_engine(options: Options, model: Any) -> Engine:
    """The engine of a configuration, in the processes that a launcher has started.

    Args:
        options: Device, precision and sharding.
        model: The model that will be trained; ``sharding=auto`` cuts it where what training holds of it would take more
            than half of a GPU.

    Raises:
        ValueError: The machine has no such device, or the optimiser cannot update cut parameters.
        ProcessesError: As `processes.join`.
    """
    group, local = join(options), local_engine(options)
    if group is None:
        return local
    cuts = options.sharding == "fsdp"
    if options.sharding == AUTO and group.device.type == "cuda":
        _, total = torch.cuda.mem_get_info(group.device)
        cuts = any(group.gather(resident_bytes(model) > total / 2))
    if not cuts:
        return Replicated(group, local)
    if options.optim == "adamw_8bit" or options.offload_optimizer:
        wish = "optim=adamw_8bit" if options.optim == "adamw_8bit" else "offload_optimizer"
        raise ValueError(
            f"sharding=fsdp cuts the optimiser's state over {group.world_size} processes, and {wish} expects it whole: "
            "leave that out (each process holds its part only), or choose sharding=ddp"
        )
    return FullySharded(group, local)
