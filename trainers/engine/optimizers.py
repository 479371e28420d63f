"""The optimiser of a configuration: which one, at which rate, and where its state is between updates.

``adamw_8bit`` keeps both moments in 8 bits by blocks of 256 values (arXiv 2110.02861, from torchao): 2 bytes a
parameter instead of 8, with the arithmetic and the masters in float32. Tensors of fewer than 4,096 values keep moments
in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..options import OptimiserOptions


def make_optimizer(options: OptimiserOptions, named: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """The configured optimiser; weight decay acts on matrices only, as usual for transformers.

    On a GPU AdamW is fused: one kernel over all tensors, without the temporary copies of the others.

    Raises:
        ImportError: ``adamw_8bit`` was asked for, and torchao is not installed.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optim == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate)
    betas = (options.adam_beta1, options.adam_beta2)
    if options.optim == "adamw_8bit":
        eight_bit: torch.optim.Optimizer = require_torchao().AdamW8bit(
            groups, lr=options.learning_rate, betas=betas, eps=options.adam_epsilon
        )
        return eight_bit
    fused = True if named and all(p.device.type == "cuda" for _, p in named) else None
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=betas, eps=options.adam_epsilon, fused=fused)


def require_torchao() -> Any:
    """The optimisers of torchao.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    noisy = logging.getLogger("torchao")  # says at length which of its kernels do not fit this torch
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        from torchao import optim
    except ImportError as error:
        raise ImportError(
            f'optim=adamw_8bit needs torchao, which is not installed: pip install "sdar-gym[adam8bit]" ({error})'
        ) from None
    finally:
        noisy.setLevel(level)
    return optim


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups; some optimisers keep it in a tensor that they hold on to."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


@contextmanager
def step_scope(device: torch.device) -> Iterator[None]:
    """The scope of an optimiser step: off a GPU nothing is compiled, which would take longer than it saves."""
    if device.type == "cuda":
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


# State of 8-bit optimisers: a tensor of codes and one of scales for each moment.


def is_eight_bit(value: object) -> bool:
    """Whether a piece of an optimiser's state is held in 8 bits."""
    return type(value).__name__ == "OptimState8bit"


def eight_bit_parts(value: Any) -> Mapping[str, Tensor]:
    """The tensors of such a piece; the table that codes stand for is the same for all."""
    return {"codes": value.codes, "scale": value.scale}


def load_eight_bit_part(optimizer: Any, parameter: nn.Parameter, key: str, part: str, value: Tensor) -> None:
    """Load one tensor of such a piece; `key` is ``exp_avg``, which has a sign, or ``exp_avg_sq``, which has none."""
    state = optimizer.state[parameter]
    if key not in state:
        state[key] = optimizer._new_buffer(parameter, key == "exp_avg")
    getattr(state[key], part).copy_(value)


class HostState:
    """Optimiser state, and separate masters, in host memory between updates (``offload_optimizer``).

    Rollouts and scoring then have the memory that the moments (8 bytes a parameter) and the masters (4) take. On the
    CPU nothing moves.

    Args:
        optimizer: Its state is moved.
        parameters: The parameters of the model, each with what the optimiser updates in its place: itself, or a master.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Sequence[tuple[nn.Parameter, nn.Parameter]]
    ) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        self._move(to_host=True)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The scope in which everything is on its device."""
        self._move(to_host=False)
        try:
            yield
        finally:
            self._move(to_host=True)

    @torch.no_grad()
    def _move(self, *, to_host: bool) -> None:
        self.on_host = to_host
        for parameter, updated in self.parameters:
            device = torch.device("cpu") if to_host else parameter.device
            state = self.optimizer.state.get(updated, {})
            # Step counts that were on the CPU all along stay there: they are scalars.
            moved = {key: value.to(device) for key, value in state.items() if isinstance(value, Tensor) and value.ndim}
            state.update(moved)
            if updated is not parameter:
                updated.data = updated.data.to(device)
