"""Options of low-rank adapters: whether they learn instead of the whole weights, how large they are, and where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option
from .reading import LEARNING, LORA

_option = partial(option, group="adapter", omit_at_default=True)


@dataclass(frozen=True, kw_only=True)
class AdapterOptions(OptionGroup):
    """LoRA: two small matrices per layer learn, and the weights themselves are frozen."""

    lora: bool = _option(False, "train low-rank adapters on frozen weights instead of the weights", read=(LEARNING,))
    lora_rank: int = _option(32, "rank of the adapters", low=1, read=(LEARNING, LORA))
    lora_alpha: float | None = _option(
        None,
        "what the adapters' product is multiplied by, over the rank; none is twice the rank",
        above=0.0,
        read=(LEARNING, LORA),
    )
    lora_targets: tuple[str, ...] = _option(
        ("all-linear",),
        "ends of the names of the layers that get adapters, such as q_proj,v_proj; all-linear is all but the head",
        read=(LEARNING, LORA),
    )

    @property
    def alpha(self) -> float:
        """`lora_alpha`, or what none stands for."""
        return 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha

    def check(self) -> None:
        """Refuse an empty list of layers."""
        super().check()
        if not self.lora_targets:
            raise ValueError(f"{type(self).__name__}.lora_targets: expected all-linear or names of layers, got none")
