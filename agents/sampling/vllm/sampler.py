"""A `Sampler` that asks a generation server, and knows at every sample which weights it came from.

Each request is a request of its own with a seed of its own, since two prompts with one seed would get the same draws.
The whole prompt is sent at every turn: the server finds what it has read before in its prefix cache. Draws are the
server's own, so samples are not those of the local sampler (`exact_draws` is False), and a token may differ with what
else the server computes at that moment.

A sample is handed out only after the server has said, *after* drawing it, that it holds the weights that were sent to
it, and (from a stream: every few seconds, and at its end by `confirm`) has given the probe the log-probs that it gave
when they came. Otherwise (it was restarted, or somebody sent it
other weights) the weights are sent again and the completions drawn again.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from ..base import Sample, SampleRequest
from . import probe
from .client import GenerationServerError, Refused, ServerClient
from .gate import Gate
from .protocol import BrokenAnswer, Wanted, completion_body, read_completion
from .slots import Slots
from .stream import Answer, VllmStream, WeightsGone
from .weights import WeightTransport, served_models

PROBE_EVERY_S = 5.0  # seconds between two probes while a stream is answered

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """How the server's weights compare with the trainer's after they were sent.

    Attributes:
        version: Their version.
        seconds: From the call to the comparison.
        apart: Between the log-probs of the probe's tokens.
    """

    version: int
    seconds: float
    apart: probe.Apart


class VllmSampler:
    """Samples from a generation server.

    Args:
        client: Asks the server.
        transport: Brings it the weights.
        encode: Text to ids without special tokens, to compare tokenizers.
        vocabulary: Number of ids.
        end_ids: Ids that end a completion.
        temperature: Of requests that name none; 0 is greedy.
        max_completion_length: Tokens per completion.
        max_context: Tokens per slot, prompt and completions together.
        concurrency: Requests at once.
        tolerance: Nats per token that server and trainer may differ by on average; None goes by the precision.
        sleeps: Whether the server sleeps while nothing is sampled (`rest`).
        before_waking: Called before the server wakes and takes its memory again.
        score: Log-probs under the model that is trained.

    Raises:
        GenerationServerError: Nobody answers, or it is another model's server, or one that lacks what is needed.
        ValueError: A number out of range.
    """

    def __init__(
        self,
        client: ServerClient,
        transport: WeightTransport,
        *,
        encode: Callable[[str], list[int]],
        vocabulary: int,
        end_ids: Sequence[int],
        temperature: float = 1.0,
        max_completion_length: int,
        max_context: int,
        concurrency: int = 64,
        tolerance: float | None = None,
        sleeps: bool = False,
        before_waking: Callable[[], None] | None = None,
        score: probe.Score = probe.next_logprobs,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"VllmSampler expects concurrency >= 1, got {concurrency}")
        self.client = client
        self.transport = transport
        self._slots = Slots(tuple(end_ids), temperature, max_completion_length, max_context)
        self.tolerance = tolerance
        self.version = -1  # of the weights that the server holds; nothing is sampled before the first were sent
        self.last_sync: SyncReport | None = None
        self.sending = 0  # of weights so far: samples that are drawn around one are told apart by it
        self.restored = 0  # times that the weights had to be sent again
        self._vocabulary = vocabulary
        self._score = score
        self._sleeps = sleeps
        self._before_waking = before_waking
        self._asleep = False
        self._knows_entropies = False
        self._probed_at = 0.0
        self._gate = Gate()
        self._concurrency = concurrency
        self._pool: ThreadPoolExecutor | None = None  # made when first needed, and again after `close`
        self._streams: weakref.WeakSet[VllmStream] = weakref.WeakSet()
        self._expected: torch.Tensor | None = (
            None  # the trainer's log-probs after the probe's ids, of what was sent last
        )
        self._answered: probe.Reading = []  # the server's, right after it came
        # What can be compared before any weights are sent.
        client.require_answer()
        card = served_models(client)[0]
        probe.require_room(client, card, max_context)
        self._probe = probe.require_tokenizer(client, str(card["id"]), encode)
        transport.check()

    engine = "vllm"  # see `base.engine_of`; what precision a server computes in is not said
    dtype = ""

    @property
    def exact_draws(self) -> bool:
        """Never: the server draws, from a seed per request."""
        return False

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """One completion per request, in their order, all of one version of the weights.

        Raises:
            ValueError: A slot is asked for twice, continues without a past, has an empty new prompt, or no room.
            GenerationServerError: The server is lost for longer than it is waited for, or cannot be used.
        """
        if len({request.slot for request in requests}) != len(requests):
            raise ValueError("VllmSampler.sample expects each slot once per call")
        wanted = [self.wanted(request) for request in requests]
        if not wanted:
            return []
        for _ in range(self.most_draws):
            samples = self._gathered([self.begin(each) for each in wanted])
            why = "it does not know them" if samples is None else self.difference()
            if why is None and samples is not None:
                for request, each, sample in zip(requests, wanted, samples, strict=True):
                    self.note(request.slot, each, sample)
                return samples
            self.restore(why or "")
        raise GenerationServerError(
            f"{self.client.url} lost the weights of version {self.version} after each of {self.client.tries} times "
            "that they were sent: does it restart, or does another run send it weights? A run needs a server of its own"
        )

    def stream(self) -> VllmStream:
        """A stream of requests that are answered as they come."""
        stream = VllmStream(self)
        self._streams.add(stream)
        return stream

    def length(self, slot: int) -> int:
        """Tokens that a slot holds: prompts and completions so far; 0 for an unknown slot."""
        return self._slots.length(slot)

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots, and requests of streams for them; the server forgets by itself."""
        self._slots.release(slots)
        for stream in self._streams:
            stream.drop(slots)

    def sync_weights(self, model: Any, version: int) -> None:
        """Send the parameters of `model` as they are now, and compare; later samples carry `version`.

        Raises:
            GenerationServerError: The server cannot load them, or gives the probe other log-probs than the model.
            ValueError: Requests of a stream are under way.
        """
        self._require_quiet("sync_weights")
        start = time.perf_counter()
        with self._gate.alone():
            before = self._expected, self._answered
            if self.tolerance is None:
                self.tolerance = probe.allowed_difference(model)
            self._expected = self._score(model, self._probe, 1.0)
            self.transport.take(model, version)
            self._load()
            apart = self._compare(*before)
            if not self.last_sync:
                self._first_look(model)
            self.version = version
        self.last_sync = SyncReport(version, time.perf_counter() - start, apart)

    def confirm(self) -> None:
        """See that the server still holds what was sent: after the last sample of those that are trained on.

        Raises:
            GenerationServerError: It does not.
        """
        if (why := self.difference()) is not None:
            raise GenerationServerError(
                f"{self.client.url} no longer holds the weights of version {self.version}, and what it sampled lately "
                f"may be of others, so nothing is trained on it: {why}. Does another run send it weights? A run needs "
                "a server of its own; go on with the run by --resume"
            )

    def rest(self) -> None:
        """Have the server free its memory until the next weights come, where server and trainer share a card.

        Raises:
            ValueError: Requests of a stream are under way.
        """
        if self._sleeps and not self._asleep:
            self._require_quiet("rest")
            level = 2 if self.transport.discards_in_sleep else 1
            self.client.post("/sleep", query={"level": level, "mode": "wait"})
            self._asleep = True

    def close(self) -> None:
        """Remove what was written for the server, and close connections; a server that sleeps stays asleep.

        After the next `sync_weights` it can be used again.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self.version = -1
        wait, self.client.wait = self.client.wait, 0.0  # a server that is lost is not waited for to say goodbye
        try:
            self.transport.close()
        except GenerationServerError as error:
            logger.warning("the generation server was not told that the run has ended: %s", error)
        self.client.wait = wait
        self.client.close()

    # One request.

    def wanted(self, request: SampleRequest) -> Wanted:
        """What is asked of the server for a request; a `ValueError` for one that cannot be answered."""
        return self._slots.wanted(request, entropies=self._knows_entropies)

    def begin(self, wanted: Wanted) -> Future[Answer]:
        """Ask for a completion in a thread."""
        if self.version < 0:
            raise ValueError("VllmSampler: no weights were sent yet: call sync_weights before anything is sampled")
        if self._asleep:
            with self._gate.alone():
                self._load()
                self._compare()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=self._concurrency, thread_name_prefix="generation")
        return self._pool.submit(self._answer, wanted)

    @property
    def most_draws(self) -> int:
        """Times that a completion is drawn at most, where the server loses its weights in between."""
        return self.client.tries

    def note(self, slot: int, wanted: Wanted, sample: Sample) -> None:
        """Remember what a slot holds now."""
        self._slots.note(slot, wanted, sample)

    def _answer(self, wanted: Wanted) -> Answer:
        """One completion; `WeightsGone` where the server does not know the weights."""
        broken: BrokenAnswer | None = None
        for _ in range(self.client.tries):
            with self._gate.together():
                version, sending, name = self.version, self.sending, self.transport.model_name()
                try:
                    answer = self.client.post("/v1/completions", completion_body(name, wanted))
                except Refused as refused:
                    if refused.status == 404:
                        raise WeightsGone from None
                    raise
            try:
                return Answer(read_completion(answer, wanted, version), sending)
            except BrokenAnswer as error:
                broken = error
        raise GenerationServerError(
            f"{self.client.url}: {self.client.tries} answers to the same request were no completions of it, the last: "
            f"{broken}. Does something between the server and this run change answers, or is it another version of "
            "vLLM?"
        )

    def _require_quiet(self, what: str) -> None:
        """Refuse a change of weights while a stream waits for answers: they could be of either version."""
        if pending := sum(stream.pending for stream in self._streams):
            raise ValueError(
                f"VllmSampler.{what} expects no requests under way, got {pending}: advance the stream until it has none"
            )

    def _gathered(self, futures: Sequence[Future[Answer]]) -> list[Sample] | None:
        """All samples; None where the server did not know the weights."""
        try:
            return [future.result().sample for future in futures]
        except WeightsGone:
            return None
        finally:
            for future in futures:  # after an error the rest is not asked for
                future.cancel()

    # Which weights the server holds.

    def difference(self, *, by_name: bool = False) -> str | None:
        """How the server's weights differ from those that were sent last; None where they are those.

        Args:
            by_name: Whether the server's word is enough where it was probed a moment ago.
        """
        found = self.transport.difference()
        if found is not None:
            return found
        if by_name and time.monotonic() - self._probed_at < PROBE_EVERY_S:
            return None
        try:
            answer = probe.read_weights(self.client, self.transport.model_name(), self._probe)
        except Refused as refused:
            return refused.reason
        self._probed_at = time.monotonic()
        apart = probe.moved(self._answered, answer)
        assert self.tolerance is not None
        if apart.mean <= self.tolerance:
            return None
        return f"its log-probs of the probe moved by {apart.mean:.4f} nats per token"

    def restore(self, why: str) -> None:
        """Send the weights again.

        Raises:
            GenerationServerError: The server does not take them, or the trainer's have changed meanwhile.
        """
        logger.warning(
            "WARNING: the generation server no longer holds the weights of version %d (%s): they are sent again, and "
            "what it sampled since is drawn again",
            self.version,
            why,
        )
        with self._gate.alone():
            self._load()
            self._compare()
        self.restored += 1

    def _load(self) -> None:
        """Have the server hold the weights that were taken last; it is awake afterwards."""
        self.sending += 1
        if self._asleep:
            if self._before_waking is not None:
                self._before_waking()
            # Memory for the weights, then the weights, and only then memory for keys and values.
            self.client.post("/wake_up", query={"tags": ["weights"]})
            self.transport.load()
            self.client.post("/wake_up", query={"tags": ["kv_cache"]})
            self._asleep = False
        else:
            self.transport.load()

    def _compare(self, said: torch.Tensor | None = None, answered: probe.Reading | None = None) -> probe.Apart:
        """Compare the server with the trainer on the probe.

        Args:
            said: The trainer's log-probs at the version before; None where there was none.
            answered: The server's at that version.

        Raises:
            GenerationServerError: They differ, or the server's have not changed although the trainer's have.
        """
        assert self.tolerance is not None and self._expected is not None
        self._answered = probe.read_weights(self.client, self.transport.model_name(), self._probe)
        self._probed_at = time.monotonic()
        apart = probe.compared(self._answered, self._expected, self._probe)
        stuck = (
            said is not None
            and answered == self._answered
            and probe.compared(self._answered, said, self._probe).mean + probe.EXACT < apart.mean
        )
        if stuck:
            raise GenerationServerError(
                f"{self.client.url} says that it took the weights, and its log-probs of the probe have not changed, "
                f"while the trainer's have by {apart.mean:.4f} nats per token: the server ignores what is sent to it"
            )
        if apart.mean > self.tolerance:
            raise GenerationServerError(
                f"{self.client.url} does not sample from the weights that were sent to it: after a probe "
                f"its log-probs differ from the trainer's by {apart.mean:.4f} nats per token (at most "
                f"{apart.largest:.4f}), and {self.tolerance:g} is allowed (vllm_tolerance). Serve the model that is "
                "trained, in the trainer's precision (--dtype float32 where bf16 is false); for adapters, a server "
                "that no other run has sent whole weights to"
            )
        return apart

    def _first_look(self, model: Any) -> None:
        """What is found out once: whose log-probs come back, and whether entropies can be had."""
        name = self.transport.model_name()
        assert self.tolerance is not None

        def score(ids: Sequence[int], temperature: float) -> torch.Tensor:
            return self._score(model, ids, temperature)

        probe.require_processed_logprobs(self.client, name, self._probe, score, self.tolerance)
        self._knows_entropies = probe.tells_entropies(self.client, name, self._probe[:8], self._vocabulary)
