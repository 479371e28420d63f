"""Requests to a generation server that are answered as they come, for episodes that do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Protocol

from ..base import Sample, SampleRequest
from .client import GenerationServerError
from .protocol import Wanted

WAIT_S = 0.05  # that `advance` waits for an answer


class WeightsGone(Exception):
    """The server does not know the weights that a request names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A sample, and which sending of weights it was drawn after."""

    sample: Sample
    sending: int


class Asker(Protocol):
    """What a stream needs of its sampler."""

    @property
    def sending(self) -> int:
        """How often weights were sent so far."""
        ...

    @property
    def most_draws(self) -> int:
        """Times that a completion is drawn at most, where the server loses its weights in between."""
        ...

    def wanted(self, request: SampleRequest) -> Wanted:
        """What is asked of the server for a request."""
        ...

    def begin(self, wanted: Wanted) -> Future[Answer]:
        """Ask in a thread; the answer may be `WeightsGone`."""
        ...

    def difference(self, *, by_name: bool = False) -> str | None:
        """How the server's weights differ from those that were sent last."""
        ...

    def restore(self, why: str) -> None:
        """Send the weights again."""
        ...

    def note(self, slot: int, wanted: Wanted, sample: Sample) -> None:
        """Remember what a slot holds now."""
        ...


@dataclass(slots=True)
class _Asked:
    """A request under way."""

    ticket: int
    slot: int
    wanted: Wanted
    answer: Future[Answer]
    draws: int = 1


class VllmStream:
    """A `SampleStream` of requests that run at once; made by `VllmSampler.stream`.

    Args:
        sampler: Asks the server.
    """

    def __init__(self, sampler: Asker) -> None:
        self._sampler = sampler
        self._asked: list[_Asked] = []

    @property
    def pending(self) -> int:
        """Requests that `advance` has not returned yet."""
        return len(self._asked)

    def submit(self, ticket: int, request: SampleRequest) -> None:
        """Ask for a completion.

        Raises:
            ValueError: The slot or the ticket waits for an answer already, or as `Sampler.sample`.
        """
        if any(each.slot == request.slot or each.ticket == ticket for each in self._asked):
            raise ValueError(
                f"VllmStream.submit expects one request per slot and ticket at a time, got slot {request.slot} and "
                f"ticket {ticket}, of which one waits for an answer"
            )
        wanted = self._sampler.wanted(request)
        self._asked.append(_Asked(ticket, request.slot, wanted, self._sampler.begin(wanted)))

    def advance(self) -> list[tuple[int, Sample]]:
        """Wait shortly for an answer and return those that are there, each with its ticket.

        Raises:
            GenerationServerError: As `Sampler.sample`.
        """
        if not self._asked:
            return []
        wait([each.answer for each in self._asked], timeout=WAIT_S, return_when=FIRST_COMPLETED)
        done = [each for each in self._asked if each.answer.done()]
        if not done:
            return []
        if (why := self._difference(done)) is not None:
            self._sampler.restore(why)
        # What was drawn before the weights were sent again is of unknown weights, even where it was answered only then.
        finished: list[tuple[int, Sample]] = []
        for each in done:
            answer = None if each.answer.exception() is not None else each.answer.result()
            if answer is None or answer.sending != self._sampler.sending:
                self._ask_again(each)
                continue
            self._asked.remove(each)
            self._sampler.note(each.slot, each.wanted, answer.sample)
            finished.append((each.ticket, answer.sample))
        return finished

    def drop(self, slots: Iterable[int]) -> None:
        """Forget the requests of slots; an answer that is under way is thrown away when it comes."""
        gone = set(slots)
        for each in self._asked:
            if each.slot in gone:
                each.answer.cancel()
        self._asked = [each for each in self._asked if each.slot not in gone]

    def _difference(self, done: list[_Asked]) -> str | None:
        """Why these answers cannot be used; None where they can."""
        for each in done:
            error = each.answer.exception()
            if isinstance(error, WeightsGone):
                return "it does not know them"
            if error is not None:
                raise error
        return self._sampler.difference(by_name=True)

    def _ask_again(self, each: _Asked) -> None:
        each.draws += 1
        if each.draws > self._sampler.most_draws:
            raise GenerationServerError(
                f"the generation server lost its weights {each.draws - 1} times over one request: does it restart, or "
                "does another run send it weights? A run needs a server of its own"
            )
        each.answer = self._sampler.begin(each.wanted)
