"""Engine: the interface between the trainer and the machine, or machines, that it runs on.

One process on one device is `single.SingleProcess`. An engine that shards parameters or keeps copies of them in step
wraps the root module (`forward.root.PolicyModel`), sums over its ranks, and gathers the whole state for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..forward.root import PolicyModel


class Engine(Protocol):
    """Where and how a model computes."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        ...

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        ...

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the run directory."""
        ...

    def prepare(self, model: Any) -> PolicyModel:
        """A root module around a causal LM: on the device, in the precision, without dropout."""
        ...

    def frozen(self, root: PolicyModel) -> PolicyModel:
        """A copy of the parameters as they are now, without gradients: the reference policy."""
        ...

    def learning(self, root: PolicyModel) -> AbstractContextManager[None]:
        """The scope of a forward pass with gradients and its backward pass."""
        ...

    def sum_over_ranks(self, value: float) -> float:
        """The sum of a number over all processes: denominators of losses, counts of metrics."""
        ...

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
        """Scale gradients to a norm of at most `max_norm`; returns the norm before, over all processes."""
        ...

    def whole_state(self, root: PolicyModel) -> Mapping[str, Tensor]:
        """All parameters of the language model, by its own names."""
        ...

    def load_whole(self, root: PolicyModel, state: Mapping[str, Tensor]) -> None:
        """Load what `whole_state` returned."""
        ...

    def clock(self) -> float:
        """A wall clock, in seconds, that waits for the device first."""
        ...
