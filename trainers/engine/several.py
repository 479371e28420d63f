"""What replicated and sharded engines share: the group of processes, and the device and precision of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..forward.root import PolicyModel
from .processes import ProcessGroup
from .single import SingleProcess
from .whole_tensors import copy_into, whole

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class SeveralProcesses:
    """Base of the engines of several processes; `base.Engine` has the contract.

    Attributes:
        group: The processes.
        local: How this process computes.
    """

    group: ProcessGroup
    local: SingleProcess

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.local.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that computes."""
        return self.local.dtype

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.group.rank

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        return self.group.world_size

    @property
    def is_writer(self) -> bool:
        """Rank 0 writes the run directory."""
        return self.group.rank == 0

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, by rank."""
        return self.group.gather(value)

    def sum_over_ranks(self, value: float) -> float:
        """The sum over all processes, the same to the last bit in each of them."""
        return self.group.sum(value)

    def max_over_ranks(self, value: float) -> float:
        """The largest value over all processes."""
        return max(self.group.gather(value))

    def learning(self, root: PolicyModel) -> AbstractContextManager[None]:
        """The scope of a forward pass with gradients and its backward pass."""
        return self.local.learning(root)

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
        """Scale gradients, which are summed, to a norm of at most `max_norm`; returns the norm before."""
        return float(whole(torch.nn.utils.clip_grad_norm_(parameters, max_norm)))

    def whole_state(self, root: PolicyModel, *, learning_only: bool = False) -> Mapping[str, Tensor]:
        """All parameters, or those that learn, on the CPU of the writer."""
        # Kept as parameters, so that tied ones are seen to be one and are gathered once.
        gathered: dict[int, Tensor] = {}
        state = {}
        for name, tensor in root.language_model.state_dict(keep_vars=True).items():
            if learning_only and not tensor.requires_grad:
                continue
            if id(tensor) not in gathered:
                gathered[id(tensor)] = self._for_the_writer(tensor, self._stored(tensor))
            state[name] = gathered[id(tensor)]
        return state if self.is_writer else {}

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors of the optimiser, on the CPU of the writer."""
        found = {name: self._for_the_writer(tensor, tensor.dtype) for name, tensor in tensors.items()}
        return found if self.is_writer else {}

    def load_whole(self, root: PolicyModel, state: Mapping[str, Tensor]) -> None:
        """Load what `whole_state` returned to the writer; every process is given it."""
        for name, tensor in root.language_model.state_dict(keep_vars=True).items():
            copy_into(tensor, state[name])

    def clock(self) -> float:
        """A wall clock, in seconds, that waits for the device first."""
        return self.local.clock()

    def _stored(self, tensor: Tensor) -> torch.dtype:
        """The precision in which a parameter or buffer of the model is stored."""
        return self.dtype if isinstance(tensor, nn.Parameter) else tensor.dtype

    def _for_the_writer(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        own = whole(tensor.detach())
        return own.to(device="cpu", dtype=dtype) if self.is_writer else own.new_empty(0)
