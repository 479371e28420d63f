"""Options of the machine: device, precision, and what trades speed for memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from .option import AUTO, OptionGroup, option
from .reading import NAMED_BY_METHOD, SEVERAL_PROCESSES

SHARDINGS = (AUTO, "ddp", "fsdp")

_option = partial(option, group="machine")


@dataclass(frozen=True, kw_only=True)
class MachineOptions(OptionGroup):
    """Where a run computes, and how much memory it may take."""

    micro_batch_tokens: int = _option(
        16384, "padded tokens per forward pass; changes speed and memory only", low=1, maths=False
    )
    divergence_memory_gb: float = _option(
        4.0,
        "host memory for the teacher's next-token distributions at most",
        above=0.0,
        maths=False,
        read=(NAMED_BY_METHOD,),
    )
    logprob_chunk: int = _option(1024, "loss tokens per chunk of the LM head; 0 is off", low=0, maths=False)
    gradient_checkpointing: bool | Literal["auto"] = _option(AUTO, "recompute activations; auto: on a GPU", maths=False)
    bf16: bool | Literal["auto"] = _option(AUTO, "bfloat16 parameters and activations; auto: on a GPU")
    device: str = _option(AUTO, "auto, cpu, cuda, cuda:0, ...", maths=False)
    sharding: str = _option(
        AUTO,
        "with several processes: ddp keeps parameters and optimiser whole in each, fsdp cuts them; auto: fsdp where "
        "they would take more than half of a GPU",
        choices=SHARDINGS,
        maths=False,
        read=(SEVERAL_PROCESSES,),
    )
    process_timeout: float = _option(
        1800.0,
        "with several processes: seconds that one waits for another, such as for its episodes",
        above=0.0,
        maths=False,
        read=(SEVERAL_PROCESSES,),
    )
