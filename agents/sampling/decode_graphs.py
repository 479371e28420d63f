"""Decoding steps as CUDA graphs: hundreds of kernels launched at once instead of one by one from Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch

_LOG = logging.getLogger(__name__)
_MOST = 64  # graphs that are kept
_ROWS = (1, 2, 4, 8, 16, 24, 32)  # numbers of rows that graphs are made for; beyond, multiples of 16

Capture = Callable[[Callable[[], None]], Callable[[], None]]


class DecodeGraphs:
    """Runs steps, from their second time on by replaying a captured graph.

    A graph holds for the tensors it was captured with: `valid_for` says what they are, and forgets all graphs when that
    changes. Where a step cannot be captured, it is run as it is from then on, and a warning says so once.

    Args:
        make_capture: Makes what captures a step without running it and returns what replays it; made anew whenever
            graphs are forgotten, since their memory goes with them.
    """

    def __init__(self, make_capture: Callable[[], Capture]) -> None:
        self._make_capture = make_capture
        self._capture = make_capture()
        self.broken = False
        self._tensors: Hashable = None
        self._replays: dict[Hashable, Callable[[], None] | None] = {}

    @staticmethod
    def rounded(rows: int) -> int:
        """The number of rows that a graph for so many is made for."""
        return next((size for size in _ROWS if size >= rows), -(-rows // 16) * 16)

    def valid_for(self, tensors: Hashable) -> None:
        """Forget all graphs if the tensors that steps work on are others than before."""
        if tensors != self._tensors:
            self._tensors = tensors
            self._forget()

    def _forget(self) -> None:
        self._replays.clear()
        self._capture = self._make_capture()

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Do a step; `key` names its shapes."""
        if self.broken:
            step()
            return
        replay = self._replays.get(key)
        if replay is not None:
            replay()
            return
        if key not in self._replays:
            # The first time as it is: kernels are loaded and workspaces made, which a capture could not hold.
            step()
            if len(self._replays) >= _MOST:
                self._forget()
            self._replays[key] = None
            return
        try:
            replay = self._capture(step)
        except RuntimeError as error:
            self.broken = True
            _LOG.warning("decoding steps run without CUDA graphs, slower but the same: %s", error)
            step()
            return
        self._replays[key] = replay
        replay()


class CudaCapture:
    """Captures steps of one device; all graphs share their memory, since one runs at a time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Capture a step. Raises RuntimeError where it does what a graph cannot hold, such as a wait for the device."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            step()
        if self._pool is None:
            self._pool = graph.pool()
        return graph.replay
