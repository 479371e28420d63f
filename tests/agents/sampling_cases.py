"""Small models, samplers and conversations for the tests of samplers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from tiny_models import make_model

from agents.sampling.base import Sample, SampleRequest
from agents.sampling.local import BatchSampler

VOCABULARY = 90
ENDS = list(range(8))  # about one token in eleven ends a completion of a random model


@functools.cache
def model(kind: str) -> Any:
    return make_model(kind, VOCABULARY, positions=512)


def sampler(kind: str = "qwen3", **options: Any) -> BatchSampler:
    settings = {"end_ids": ENDS, "pad_id": 0, "max_completion_length": 7, "max_context": 400, **options}
    return BatchSampler(model(kind), **settings)


def ids_from(rng: np.random.Generator, low: int, high: int) -> list[int]:
    return rng.integers(8, VOCABULARY, int(rng.integers(low, high))).tolist()


def conversation(slot: int, turns: int, *, seed: int = 0, window: bool = False) -> list[SampleRequest]:
    """The requests of one episode: a transcript, or windows that begin alike."""
    rng = np.random.default_rng([seed, slot])
    head = ids_from(np.random.default_rng(seed), 40, 60)
    requests = []
    for turn in range(turns):
        ids = [*head, *ids_from(rng, 1, 20)] if turn == 0 or window else ids_from(rng, 1, 12)
        requests.append(SampleRequest(slot, ids, turn > 0 and not window, ("case", seed, slot, turn)))
    return requests


def in_lockstep(own: BatchSampler, episodes: Sequence[Sequence[SampleRequest]]) -> list[list[Sample]]:
    """All episodes turn by turn; those that are over are released."""
    samples: list[list[Sample]] = [[] for _ in episodes]
    for turn in range(max(map(len, episodes))):
        going = [index for index, requests in enumerate(episodes) if turn < len(requests)]
        for index, sample in zip(going, own.sample([episodes[index][turn] for index in going]), strict=True):
            samples[index].append(sample)
        own.release([requests[0].slot for requests in episodes if len(requests) == turn + 1])
    return samples


def check_alike(one: Sequence[Sequence[Sample]], other: Sequence[Sequence[Sample]]) -> None:
    """The same ids and truncation, log-probs and entropies within 1e-5."""
    for mine, theirs in zip(one, other, strict=True):
        assert [(sample.ids, sample.truncated) for sample in mine] == [(s.ids, s.truncated) for s in theirs]
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
            np.testing.assert_allclose(a.entropies, b.entropies, atol=1e-5)
