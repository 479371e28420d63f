"""What each slot holds, and with it what is asked for: the server is sent the whole prompt at every turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..base import Sample, SampleRequest
from .protocol import Wanted, seed_of


@dataclass(slots=True)
class Slots:
    """The ids of every slot, prompts and completions, and the limits of a request.

    Attributes:
        end_ids: Ids that end a completion.
        temperature: Of requests that name none; 0 is greedy.
        max_completion_length: Tokens per completion, of requests that name no number.
        max_context: Tokens per slot, prompt and completions together.

    Raises:
        ValueError: A number out of range.
    """

    end_ids: tuple[int, ...]
    temperature: float
    max_completion_length: int
    max_context: int
    _ids: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"VllmSampler expects temperature >= 0, got {self.temperature}")
        if self.max_completion_length < 1:
            raise ValueError(f"VllmSampler expects max_completion_length >= 1, got {self.max_completion_length}")

    def wanted(self, request: SampleRequest, *, entropies: bool) -> Wanted:
        """What is asked of the server for a request.

        Args:
            request: The request.
            entropies: Whether the server tells them.

        Raises:
            ValueError: The slot continues without a past, has an empty new prompt, or no room.
        """
        where = f"slot {request.slot}"
        if request.continues and request.slot not in self._ids:
            raise ValueError(f"{where} is expected to hold an earlier turn to continue, and is empty: begin it afresh")
        if not request.continues and not request.prompt_ids:
            raise ValueError(f"{where} is expected to begin with a prompt, got no ids")
        past = self._ids[request.slot] if request.continues else []
        room = self.max_context - len(past) - len(request.prompt_ids)
        if room < 1:
            raise ValueError(
                f"{where} holds {len(past)} tokens and {len(request.prompt_ids)} more leave no room to answer within "
                f"max_context={self.max_context}: cut the history, or end the episode"
            )
        most = self.max_completion_length if request.max_tokens is None else request.max_tokens
        if most < 1:
            raise ValueError(f"{where} is expected to ask for at least 1 token, got {most}")
        return Wanted(
            prompt_ids=(*past, *request.prompt_ids),
            seed=seed_of(request.draw),
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=min(most, room),
            stop=request.stop,
            stop_ids=self.end_ids,
            entropies=entropies,
        )

    def note(self, slot: int, wanted: Wanted, sample: Sample) -> None:
        """Remember what a slot holds now."""
        self._ids[slot] = [*wanted.prompt_ids, *sample.ids]

    def length(self, slot: int) -> int:
        """Tokens that a slot holds; 0 for an unknown slot."""
        return len(self._ids.get(slot, ()))

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots."""
        for slot in slots:
            self._ids.pop(slot, None)
