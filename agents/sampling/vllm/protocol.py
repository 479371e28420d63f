"""What is asked of `/v1/completions` and how its answers are read: token ids in, token ids and log-probs out.

Every setting of sampling is sent, since a server takes what is not sent from the model's own defaults (a
`generation_config.json` with a `top_p`, say), and log-probs of another distribution than the one that is trained would
come back. Every answer is checked; one that cannot be a completion of its request is asked for again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar_envs.randomness import counted_generator

from ..base import Sample

UNKNOWN = math.nan  # an entropy that the server does not say
# Servers write this for a log-prob of minus infinity, which JSON does not have.
_FLOOR = -9999.0


class BrokenAnswer(Exception):
    """An answer that is no completion of its request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A completion to ask for.

    Attributes:
        prompt_ids: The whole prompt.
        seed: Of the draws.
        temperature: 0 is greedy.
        max_tokens: Tokens at most.
        stop: Texts that end it.
        stop_ids: Ids that end it.
        entropies: Ask for the log-probs of the whole vocabulary, and compute entropies from them.
    """

    prompt_ids: tuple[int, ...]
    seed: int
    temperature: float
    max_tokens: int
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    entropies: bool = False


def seed_of(draw: tuple[int | str, ...]) -> int:
    """The seed of a request: a function of the key of its draws, so every member of a group has its own."""
    return int(counted_generator("generation server", *draw).integers(2**63 - 1))


def completion_body(model: str, wanted: Wanted) -> dict[str, Any]:
    """The request for one completion."""
    return {
        "model": model,
        "prompt": list(wanted.prompt_ids),
        "max_tokens": wanted.max_tokens,
        "temperature": wanted.temperature,
        "seed": wanted.seed,
        "n": 1,
        # The whole distribution, unchanged.
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "min_tokens": 0,
        "ignore_eos": False,
        # What ends it; the end stands in the completion, as it does in this process.
        "stop": list(wanted.stop),
        "stop_token_ids": list(wanted.stop_ids),
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        # Ids back, with the log-prob of each.
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "logprobs": -1 if wanted.entropies else 0,
        "stream": False,
    }


def read_completion(answer: Any, wanted: Wanted, version: int) -> Sample:
    """The sample that an answer holds.

    Raises:
        BrokenAnswer: It is none: fields are missing or do not go together, or it is of another prompt.
    """
    choice = _choice(answer)
    if tuple(_ids(choice, "prompt_token_ids")) != wanted.prompt_ids:
        raise BrokenAnswer("the prompt's ids came back changed: the server adds or cuts tokens")
    ids = tuple(_ids(choice, "token_ids"))
    logprobs_field = choice.get("logprobs")
    table: dict[str, Any] = logprobs_field if isinstance(logprobs_field, dict) else {}
    values = table.get("token_logprobs")
    if not isinstance(values, list) or len(values) != len(ids) or not all(map(_is_logprob, values)):
        raise BrokenAnswer(f"expected a log-prob for each of {len(ids)} tokens, got {_short(values)}")
    reason = choice.get("finish_reason")
    if not ids or len(ids) > wanted.max_tokens:
        raise BrokenAnswer(f"expected 1 to {wanted.max_tokens} tokens, got {len(ids)} (finish_reason {reason!r})")
    if reason not in ("stop", "length"):
        raise BrokenAnswer(f"expected finish_reason 'stop' or 'length', got {reason!r}")
    if reason == "length" and len(ids) < wanted.max_tokens:
        raise BrokenAnswer(f"{len(ids)} tokens came of {wanted.max_tokens}, and the limit is said to have ended them")
    if reason == "stop" and ids[-1] not in wanted.stop_ids and choice.get("stop_reason") not in wanted.stop:
        raise BrokenAnswer(f"it is said to have stopped, and its last token {ids[-1]} ends nothing")
    entropies = _entropies(table, len(ids)) if wanted.entropies else (UNKNOWN,) * len(ids)
    logprobs = tuple(min(float(value), 0.0) for value in values)
    return Sample(ids, logprobs, entropies, truncated=reason == "length", version=version)


def probe_body(model: str, prompts: Sequence[Sequence[int]], likeliest: int) -> dict[str, Any]:
    """The request for the log-probs of the likeliest next tokens after each of several prompts, at temperature 1."""
    wanted = Wanted((), 0, 1.0, 1, (), ())
    return {**completion_body(model, wanted), "prompt": [list(ids) for ids in prompts], "logprobs": likeliest}


def read_probe(answer: Any, prompts: Sequence[Sequence[int]]) -> list[dict[int, float]]:
    """Per prompt, token id to log-prob.

    Raises:
        BrokenAnswer: The answer does not hold them.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != len(prompts):
        raise BrokenAnswer(f"expected {len(prompts)} choices, got {_short(choices)}")
    found: list[dict[int, float]] = []
    for choice, prompt in zip(choices, prompts, strict=True):
        if not isinstance(choice, dict) or _ids(choice, "prompt_token_ids") != list(prompt):
            raise BrokenAnswer("the probe's ids came back changed: the server adds or cuts tokens")
        table = choice.get("logprobs")
        rows = table.get("top_logprobs") if isinstance(table, dict) else None
        row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
        if not isinstance(row, dict) or not row or not all(map(_is_logprob, row.values())):
            raise BrokenAnswer(f"expected log-probs by token, got {_short(rows)}")
        try:
            found.append({int(token.removeprefix("token_id:")): float(value) for token, value in row.items()})
        except ValueError:
            raise BrokenAnswer(f"expected tokens as token_id:NUMBER, got {_short(row)}") from None
    return found


def _choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise BrokenAnswer(f"expected one choice, got {_short(answer)}")
    choice: dict[str, Any] = choices[0]
    return choice


def _ids(choice: dict[str, Any], name: str) -> list[int]:
    ids = choice.get(name)
    if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise BrokenAnswer(f"expected ids in {name} (vLLM's return_token_ids), got {_short(ids)}")
    return ids


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 1e-4 and math.isfinite(value)


def _entropies(table: dict[str, Any], count: int) -> tuple[float, ...]:
    """Entropies in nats from the log-probs of the whole vocabulary, token by token."""
    rows = table.get("top_logprobs")
    if not isinstance(rows, list) or len(rows) != count:
        raise BrokenAnswer(f"expected the log-probs of the vocabulary for each of {count} tokens, got {_short(rows)}")
    found: list[float] = []
    for row in rows:
        if not isinstance(row, dict) or not all(map(_is_logprob, row.values())):
            raise BrokenAnswer(f"expected log-probs by token, got {_short(row)}")
        known = [value for value in row.values() if value > _FLOOR]
        mass = math.fsum(math.exp(value) for value in known)
        if abs(mass - 1.0) > 1e-3:
            raise BrokenAnswer(f"expected the log-probs of the whole vocabulary, got {mass:.3f} of the probability")
        found.append(max(-math.fsum(math.exp(value) * value for value in known), 0.0))
    return tuple(found)


def _short(value: Any) -> str:
    return repr(value)[:120]
