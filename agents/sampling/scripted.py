"""A sampler that returns given completions: for demonstrations, and for commands that show prompts without a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from .base import Sample, SampleRequest, SampleStream
from .batched_stream import BatchedStream


class ScriptedSampler:
    """A `Sampler` without a model; every request takes the next completion of the script.

    Args:
        completions: Token ids of completions, in the order of the requests; `add` appends more.
    """

    exact_draws = True  # nothing is drawn

    def __init__(self, completions: Iterable[Sequence[int]] = ()) -> None:
        self._completions = deque(tuple(ids) for ids in completions)
        self._lengths: dict[int, int] = {}

    def add(self, ids: Sequence[int]) -> None:
        """Append a completion to the script."""
        self._completions.append(tuple(ids))

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """The next completion for each request.

        Raises:
            ValueError: The script has ended.
        """
        samples = []
        for request in requests:
            if not self._completions:
                raise ValueError("ScriptedSampler: expected a completion for every request, and the script has ended")
            ids = self._completions.popleft()
            before = self.length(request.slot) if request.continues else 0
            self._lengths[request.slot] = before + len(request.prompt_ids) + len(ids)
            samples.append(Sample(ids, (0.0,) * len(ids), (0.0,) * len(ids), truncated=False))
        return samples

    def stream(self) -> SampleStream:
        """Requests take the script's completions in the order in which they are submitted."""
        return BatchedStream(self)

    def length(self, slot: int) -> int:
        """Tokens that a slot holds."""
        return self._lengths.get(slot, 0)

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots."""
        for slot in slots:
            self._lengths.pop(slot, None)

    def sync_weights(self, model: Any, version: int) -> None:
        """A script has no parameters."""
