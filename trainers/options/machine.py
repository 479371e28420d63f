"""Options of the machine: device, precision, and what trades speed for memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from .option import AUTO, OptionGroup, option
from .reading import NAMED_BY_METHOD, SEVERAL_PROCESSES

SHARDINGS = (AUTO, "ddp", "fsdp")

_option = partial(option, group="machine")

MICRO_BATCH_TOKENS = 16384


@dataclass(frozen=True, kw_only=True)
class MachineOptions(OptionGroup):
    """Where a run computes, and how much memory it may take."""

    micro_batch_tokens: int = _option(
        None,
        "padded tokens per forward pass; changes speed and memory only; none is 16384, or 1024 on a CPU with a model "
        "of more than 50 million parameters",
        low=1,
        maths=False,
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
    master_weights: str = _option(
        AUTO,
        "float32 copies of 16-bit parameters for the optimiser; auto: float32; none loses updates below a 16-bit step",
        choices=(AUTO, "float32", "none"),
        omit_at_default=True,
    )
    offload_optimizer: bool = _option(
        False, "keep optimiser state and float32 copies in host memory between updates", maths=False
    )
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
    attn_implementation: str = _option(
        AUTO,
        "attention kernels of transformers; auto: its own choice",
        maths=False,
        choices=(AUTO, "sdpa", "eager", "flash_attention_2", "flash_attention_3"),
    )
    packing: bool | Literal["auto"] = _option(
        AUTO,
        "rows of a forward pass one after another in the place of padding; auto: with flash attention",
        maths=False,
    )
    share_prompts: bool = _option(
        False,
        "read prompts that rows of a forward pass have in common once, as those of a group do in a transcript; changes "
        "speed, memory and rounding only",
        maths=False,
    )

    def fill(self) -> None:
        """The tokens of a forward pass, where none were given (`engine.single.fitted` lowers them for large models)."""
        super().fill()
        if vars(self)["micro_batch_tokens"] is None:
            object.__setattr__(self, "micro_batch_tokens", MICRO_BATCH_TOKENS)
