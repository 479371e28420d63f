"""Options of the optimiser: learning rate, moments, and how an iteration's rows are cut into steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option
from .reading import ADAMW, LEARNING, MINI_BATCHES

_option = partial(option, group="optimiser")

LEARNING_RATE = 1e-6  # of whole weights: what is published for this kind of training
# Adapters start from a product of 0 and are scaled: at the rate of whole weights they learn next to nothing. Ten times
# that rate is what comparisons of both find best (thinkingmachines.ai/blog/lora, and TRL's guide to LoRA).
LORA_RATE_FACTOR = 10.0


def adapter_rate(rate: float) -> float:
    """The learning rate of adapters where that of whole weights would be `rate`, without noise in the last digit."""
    return float(f"{rate * LORA_RATE_FACTOR:.12g}")


@dataclass(frozen=True, kw_only=True)
class OptimiserOptions(OptionGroup):
    """Learning rate and its schedule, weight decay, clipping of gradients, and optimiser steps per iteration."""

    learning_rate: float = _option(
        None,
        "learning rate; none is 1e-6, and with lora ten times that (a preset's rate is multiplied in the same way)",
        low=0.0,
        read=(LEARNING,),
    )
    lr_scheduler_type: str = _option("constant", "learning rate after the warm-up", choices=("constant", "linear"))
    warmup_steps: int = _option(0, "iterations of linear warm-up", low=0)
    weight_decay: float = _option(0.01, "decoupled weight decay", low=0.0)
    max_grad_norm: float = _option(1.0, "gradient norm is clipped to this", above=0.0)
    optim: str = _option(
        "adamw", "optimiser; adamw_8bit keeps moments in 8 bits", choices=("adamw", "adamw_8bit", "sgd")
    )
    adam_beta1: float = _option(0.9, "AdamW beta1", low=0.0, high=1.0, read=(ADAMW,))
    adam_beta2: float = _option(0.999, "AdamW beta2", low=0.0, high=1.0, read=(ADAMW,))
    adam_epsilon: float = _option(1e-8, "AdamW epsilon", above=0.0, read=(ADAMW,))
    num_mini_batches: int = _option(
        1, "optimiser steps per pass over an iteration's rows", low=1, read=(LEARNING, MINI_BATCHES)
    )
    mini_batch_rows: int | None = _option(None, "rows per optimiser step, instead of num_mini_batches", low=1)
    num_iterations: int = _option(1, "passes over an iteration's rows", low=1)
    max_consecutive_skips: int = _option(5, "stop after this many non-finite updates in a row", low=1, maths=False)
    max_skipped_share: float = _option(
        0.01, "stop when this share of updates was skipped", low=0.0, high=1.0, maths=False
    )

    def fill(self) -> None:
        """The learning rate, where none was given: that of whole weights, or of adapters."""
        super().fill()
        if vars(self)["learning_rate"] is None:
            adapters = getattr(self, "lora", False)
            object.__setattr__(self, "learning_rate", adapter_rate(LEARNING_RATE) if adapters else LEARNING_RATE)
