"""The interface between agents and samplers: requests with token ids in, samples with token ids out.

One sampler serves the student, its evaluator and the privileged-prompt policy. It holds a copy of, or a reference to,
the parameters of a model; `Sampler.sync_weights` says that they have changed, and every sample carries the version that
it was drawn with. This file imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

LAYOUTS = ("auto", "block", "rows")  # how `local.BatchSampler` keeps what it has read


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to sample.

    Attributes:
        slot: The slot of the episode.
        prompt_ids: With `continues`, the ids that follow what the slot's cache holds (its last sampled token included);
            without, the whole prompt.
        continues: Whether the slot's row goes on; otherwise the slot starts afresh.
        draw: Key of the uniforms; it must name the turn.
        temperature: None takes the sampler's own; 0 is greedy.
        stop: Texts that end a completion as soon as they stand in it; the token that completes one is the last.
        max_tokens: Tokens of the completion at most; None takes the sampler's own limit.
    """

    slot: int
    prompt_ids: Sequence[int]
    continues: bool
    draw: tuple[int | str, ...]
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled completion: `ids` with the end token if it came; `truncated` if the limit came first.

    `logprobs` are natural logarithms at the sampling temperature (at temperature 1 for greedy decoding), `entropies`
    of the same distribution in nats (NaN where a sampler cannot say); both parallel to `ids`. A stop text ends a
    completion as an end token does.
    `version` is that of the parameters that drew it.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]
    truncated: bool
    version: int = 0


class NonFiniteLogitsError(RuntimeError):
    """A model computed logits that are not finite, so that no token can be drawn."""


def require_finite(logprobs: Sequence[float], prompt: int) -> None:
    """Check the log-probs of a completion.

    Args:
        logprobs: One per sampled token.
        prompt: Length of the prompt, for the message.

    Raises:
        NonFiniteLogitsError: One is not finite, which is so where the logits it was taken from are not.
    """
    if math.isfinite(sum(logprobs)):
        return
    place = next(index for index, value in enumerate(logprobs) if not math.isfinite(value))
    raise NonFiniteLogitsError(
        f"the model's logits are not finite at token {place + 1} after a prompt of {prompt} tokens: its weights are "
        "damaged or too large for its precision: compute in another one (bf16=false), go on from an earlier "
        "checkpoint, or lower learning_rate"
    )


# The engine of a sampler that runs the trainer's own modules in the trainer's process.
LOCAL_ENGINE = "transformers"


def engine_of(sampler: object) -> tuple[str, str]:
    """What a sampler computes with: its engine and its precision, such as ``("transformers", "float32")``.

    A sampler says so by the attributes ``engine`` and ``dtype``; one without them is of an unknown engine (empty
    texts), which is never the trainer's.
    """
    return str(getattr(sampler, "engine", "")), str(getattr(sampler, "dtype", ""))


@runtime_checkable
class SampleStream(Protocol):
    """Requests in at any time, samples out as they are finished; made by `Sampler.stream`.

    Slots mean what they mean to the sampler: `Sampler.length` and `Sampler.release` are asked there, between calls of
    `advance`; a slot has at most one request at a time, and releasing it drops that one. While requests are pending,
    neither `Sampler.sample` nor `Sampler.sync_weights` may be called. One thread calls all of these.
    """

    @property
    def pending(self) -> int:
        """Requests that were submitted and have not come back."""
        ...

    def submit(self, ticket: int, request: SampleRequest) -> None:
        """Hand in a request; its sample comes back from `advance` under `ticket`.

        Args:
            ticket: Chosen by the caller; no other pending request may have it.
            request: What is asked for; its slot has no other pending request.

        Raises:
            ValueError: The ticket or the slot is taken, or the request cannot be answered (as in `Sampler.sample`).
        """
        ...

    def advance(self) -> list[tuple[int, Sample]]:
        """Do one unit of work; returns the tickets and samples that it finished, often none.

        For a model in this process that is one decoding step of all live slots, with the prompts of new requests read
        before it; for a server it is waiting for an answer, a fraction of a second at most. Without pending requests
        it returns at once.
        """
        ...


@runtime_checkable
class Sampler(Protocol):
    """Anything that samples completions for many slots: `local.BatchSampler` does, from a model in this process.

    It may also have the attributes ``engine`` and ``dtype`` (`engine_of`), by which a trainer knows whether its
    log-probs are those that the trainer would find itself.
    """

    @property
    def exact_draws(self) -> bool:
        """Whether the keys of requests are honoured, so that a sample is a function of model, prompt and key."""
        ...

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """One completion per request, in their order."""
        ...

    def stream(self) -> SampleStream:
        """A stream of requests to this sampler, for callers that do not wait for the slowest completion."""
        ...

    def length(self, slot: int) -> int:
        """Tokens that a slot holds: prompts and completions so far; 0 for an unknown slot."""
        ...

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots: their episodes have ended."""
        ...

    def sync_weights(self, model: Any, version: int) -> None:
        """Sample with the parameters of `model` as they are now; every sample then carries `version`.

        Args:
            model: The causal language model that is trained.
            version: Optimiser-visible version of its parameters: the number of iterations done.
        """
        ...
