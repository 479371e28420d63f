"""Parameter values beside the live ones, and the scope in which a model computes with them: averaged or fixed teachers.

Only values are held, in float32, and no second module. In the scope they stand in the modules' own tensors, written in
place, so that wrappers which hold those tensors see them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .whole_tensors import copy_into, cut_like


class HeldWeights:
    """Values for some parameters of a model.

    Args:
        parameters: The parameters of the model, by name.
        values: A value for each of them, copied here in float32; None takes the present ones.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor] | None = None) -> None:
        self.parameters = dict(parameters)
        given = self.parameters if values is None else values
        self.values = {
            name: cut_like(given[name].detach().to(dtype=torch.float32, copy=True), parameter)
            for name, parameter in self.parameters.items()
        }

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The model computes with the held values here, and with its own again afterwards, to the last bit."""
        kept = self._exchange({})
        try:
            yield
        finally:
            self._exchange(kept)

    @torch.no_grad()
    def _exchange(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Exchange held and live values; returns live ones of another precision, which `kept` then brings back."""
        aside: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            value = self.values[name]
            if name in kept:
                parameter.copy_(kept[name])
            elif parameter.dtype == value.dtype:
                # One tensor more at a time, and no second copy of all of them.
                live = parameter.detach().clone()
                parameter.copy_(value)
                value.copy_(live)
            else:
                aside[name] = parameter.detach().clone()
                parameter.copy_(value)
        return aside


class AveragedWeights(HeldWeights):
    """An exponential moving average of the values that an optimiser updates.

    Args:
        parameters: The parameters of the model, by name.
        sources: What is averaged, by the same names: the parameters themselves, or their float32 masters.
        decay: The share that the average keeps at each update; 0 follows, 1 stays at the start.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], sources: Sequence[tuple[str, nn.Parameter]], decay: float
    ) -> None:
        super().__init__(parameters, dict(sources))
        self.sources = dict(sources)
        self.decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """``average <- decay average + (1 - decay) present``, once per iteration."""
        for name, value in self.values.items():
            source = self.sources[name]
            value.lerp_(source if source.device == value.device else source.to(value.device), 1.0 - self.decay)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Load saved values."""
        for name, value in self.values.items():
            copy_into(value, values[name])
