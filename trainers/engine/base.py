"""Engine: the interface between the trainer and the machine, or machines, that it runs on.

One process on one device is `single.SingleProcess`; `replicated` and `sharded` are several. Every process knows the
whole iteration: episodes and log-probs are gathered, so advantages, filters and every statistic over a batch are
computed from all of it by the same code as in one process. What is divided is the work: a group's episodes are played,
scored and learned from by the process that owns the group (`owns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..forward.root import PolicyModel

_Value = TypeVar("_Value")


class Ranks(Protocol):
    """The processes of a run, seen from one of them. Its methods are called by all of them, in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        ...

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, by rank."""
        ...


def owns(ranks: Ranks, group: int) -> bool:
    """Whether this process plays, scores and learns from a group: group ``g`` belongs to rank ``g mod world_size``."""
    return group % ranks.world_size == ranks.rank


class Engine(Ranks, Protocol):
    """Where and how a model computes."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The precision that computes."""
        ...

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the run directory."""
        ...

    def prepare(self, model: Any) -> PolicyModel:
        """A root module around a causal LM: on the device, in the precision, without dropout."""
        ...

    def reader(self, model: Any) -> PolicyModel:
        """A root module around a model of its own that only reads: no gradients, no sampling."""
        ...

    def frozen(self, root: PolicyModel) -> PolicyModel:
        """A copy of the parameters as they are now, without gradients: the reference policy."""
        ...

    def sampling_model(self, root: PolicyModel) -> Any:
        """The language model with whole parameters as they are now, for sampling; the same object at every call."""
        ...

    def learning(self, root: PolicyModel) -> AbstractContextManager[None]:
        """The scope of a forward pass with gradients and its backward pass."""
        ...

    def sum_over_ranks(self, value: float) -> float:
        """The sum of a number over all processes: denominators of losses, counts of metrics."""
        ...

    def max_over_ranks(self, value: float) -> float:
        """The largest value over all processes: decisions that must be the same everywhere."""
        ...

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes, after the last backward pass of an optimiser step."""
        ...

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
        """Scale gradients to a norm of at most `max_norm`; returns the norm before, over all processes."""
        ...

    def whole_state(self, root: PolicyModel, *, learning_only: bool = False) -> Mapping[str, Tensor]:
        """All parameters of the language model, by its own names, in the precision that computes.

        Called by all processes. Only the writer gets the parameters where they have to be gathered.

        Args:
            root: The policy.
            learning_only: Those that do not learn need not be gathered, and may be missing.
        """
        ...

    def whole(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors of the optimiser, whole; as `whole_state`, all processes call it and the writer gets them."""
        ...

    def load_whole(self, root: PolicyModel, state: Mapping[str, Tensor]) -> None:
        """Load what `whole_state` returned."""
        ...

    def clock(self) -> float:
        """A wall clock, in seconds, that waits for the device first."""
        ...
