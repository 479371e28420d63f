"""A stream over any sampler that answers whole batches: what is submitted is sampled together at `advance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .base import Sample, SampleRequest, SampleStream


class SamplesBatches(Protocol):
    """What a `BatchedStream` needs of a sampler."""

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """One completion per request, in their order."""
        ...


class BatchedStream:
    """A `SampleStream` that gathers requests and hands them to `Sampler.sample`, all that are there at once.

    Nobody is faster for it, but callers need not care which kind of sampler they have. A request that cannot be
    answered raises at `advance`, where the sampler sees it.

    Args:
        sampler: Answers the requests.
    """

    def __init__(self, sampler: SamplesBatches) -> None:
        self.sampler = sampler
        self._waiting: dict[int, SampleRequest] = {}

    @property
    def pending(self) -> int:
        """Requests that were submitted and have not come back."""
        return len(self._waiting)

    def submit(self, ticket: int, request: SampleRequest) -> None:
        """Keep a request for the next `advance`.

        Raises:
            ValueError: The ticket or the slot has a request already.
        """
        require_free(ticket, request, self._waiting)
        self._waiting[ticket] = request

    def advance(self) -> list[tuple[int, Sample]]:
        """Sample everything that was submitted, in the order of the tickets' submission."""
        asked, self._waiting = self._waiting, {}
        if not asked:
            return []
        return list(zip(asked, self.sampler.sample(list(asked.values())), strict=True))


def require_free(ticket: int, request: SampleRequest, pending: dict[int, SampleRequest]) -> None:
    """Refuse a ticket or a slot that has a pending request.

    Raises:
        ValueError: One of them has.
    """
    if ticket in pending:
        raise ValueError(f"ticket {ticket} is pending: expected another number for the request of slot {request.slot}")
    if any(other.slot == request.slot for other in pending.values()):
        raise ValueError(f"slot {request.slot} has a pending request: expected one request per slot at a time")


def stream_of(sampler: SamplesBatches) -> SampleStream:
    """The sampler's own stream, or a `BatchedStream` where it has none."""
    own = getattr(sampler, "stream", None)
    stream: SampleStream = BatchedStream(sampler) if own is None else own()
    return stream
