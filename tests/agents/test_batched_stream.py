"""Any sampler can be asked through a stream: what is submitted comes back under its ticket, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agents.sampling.base import Sample, SampleRequest, SampleStream
from agents.sampling.batched_stream import BatchedStream, stream_of
from agents.sampling.scripted import ScriptedSampler


class Echo:
    """Answers with the slot; it has no stream of its own."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        self.batches.append([request.slot for request in requests])
        return [Sample((request.slot,), (0.0,), (0.0,), truncated=False) for request in requests]


def request(slot: int, **options: Any) -> SampleRequest:
    return SampleRequest(slot, [1, 2], False, ("stream", slot), **options)


def test_everything_submitted_is_sampled_together_and_comes_back_under_its_ticket() -> None:
    echo = Echo()
    stream = stream_of(echo)
    assert isinstance(stream, SampleStream) and stream.pending == 0 and stream.advance() == []
    stream.submit(70, request(3))
    stream.submit(50, request(1))
    assert stream.pending == 2 and echo.batches == []
    assert [(ticket, sample.ids) for ticket, sample in stream.advance()] == [(70, (3,)), (50, (1,))]
    assert stream.pending == 0 and stream.advance() == [] and echo.batches == [[3, 1]]
    stream.submit(70, request(3))  # a ticket that came back is free again
    assert [ticket for ticket, _ in stream.advance()] == [70]


def test_a_ticket_or_a_slot_that_is_pending_is_refused_and_the_others_still_come_back() -> None:
    stream = BatchedStream(Echo())
    stream.submit(0, request(3))
    with pytest.raises(ValueError, match=r"ticket 0 is pending"):
        stream.submit(0, request(4))
    with pytest.raises(ValueError, match=r"slot 3 has a pending request"):
        stream.submit(1, request(3))
    assert [ticket for ticket, _ in stream.advance()] == [0]


def test_a_script_can_be_read_through_a_stream() -> None:
    stream = stream_of(ScriptedSampler([[5, 6], [7]]))
    stream.submit(1, request(0))
    stream.submit(2, request(1))
    assert [(ticket, sample.ids) for ticket, sample in stream.advance()] == [(1, (5, 6)), (2, (7,))]
