"""The exact token ids of an episode and their log-probs, packed into a few bytes a token for a line of JSON.

Ids of a whole episode stand together as little-endian uint32, compressed: prompts repeat, above all in a window, so
that an id takes 0.7 to 1.7 characters where JSON takes 3.6 and uint32 alone 5.3 (measured on the household; see
docs/stored-episodes.md). Log-probs are float32 as the sampler computed them: they do not compress, and float16 would
be off by 0.001 nats. The same ids may be other characters with another build of zlib; unpacked they are the same.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.base import TurnTokens

# The largest id list that is unpacked: 64 million ids, so that a line of other people cannot fill the memory.
MAX_ID_BYTES = 256 * 2**20
KEYS = ("prompt_lengths", "completion_lengths", "continues", "truncated", "ids", "logprobs")


class PackedTokensError(ValueError):
    """Packed tokens that do not fit together; the message says what was expected."""


def pack_tokens(turns: Sequence[TurnTokens]) -> dict[str, Any]:
    """The tokens of an episode's turns as plain JSON values.

    Returns:
        ``prompt_lengths`` and ``completion_lengths`` in tokens, ``continues`` and ``truncated`` as 0 or 1, one entry
        per turn; ``ids``, turn by turn the prompt and then the completion; ``logprobs`` of the completions alone.
    """
    ids = [token for turn in turns for token in (*turn.prompt_ids, *turn.completion_ids)]
    logprobs = [value for turn in turns for value in turn.logprobs]
    return {
        "prompt_lengths": [len(turn.prompt_ids) for turn in turns],
        "completion_lengths": [len(turn.completion_ids) for turn in turns],
        "continues": [int(turn.continues) for turn in turns],
        "truncated": [int(turn.truncated) for turn in turns],
        "ids": _text(zlib.compress(np.asarray(ids, dtype="<u4").tobytes(), 6)),
        "logprobs": _text(np.asarray(logprobs, dtype="<f4").tobytes()),
    }


def unpack_tokens(packed: Mapping[str, Any]) -> list[TurnTokens]:
    """The turns that `pack_tokens` has packed, ids and log-probs exactly; entropies are not kept.

    Raises:
        PackedTokensError: Something is missing, damaged, or of another length than is stated.
    """
    if missing := [key for key in KEYS if key not in packed]:
        raise PackedTokensError(f"expected packed tokens with the keys {', '.join(KEYS)}; {', '.join(missing)} missing")
    prompts, completions = list(packed["prompt_lengths"]), list(packed["completion_lengths"])
    continues, truncated = packed["continues"], packed["truncated"]
    if not len(prompts) == len(completions) == len(continues) == len(truncated):
        raise PackedTokensError("expected one length, one continuation and one truncation mark per turn, got others")
    if any(type(count) is not int or count < 0 for count in [*prompts, *completions]):
        raise PackedTokensError("expected lengths of at least 0 tokens")
    ids = np.frombuffer(_inflated(_bytes(packed["ids"], "ids")), dtype="<u4").tolist()
    logprobs = np.frombuffer(_whole(_bytes(packed["logprobs"], "logprobs"), "logprobs"), dtype="<f4").tolist()
    if len(ids) != sum(prompts) + sum(completions) or len(logprobs) not in (0, sum(completions)):
        raise PackedTokensError(
            f"expected {sum(prompts)} + {sum(completions)} ids and a log-prob for each of the latter, got {len(ids)} "
            f"ids and {len(logprobs)} log-probs"
        )
    turns, at, sampled = [], 0, 0
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        middle, end = at + prompt, at + prompt + completion
        own = logprobs[sampled : sampled + completion]
        turns.append(
            TurnTokens(
                tuple(ids[at:middle]),
                bool(continues[number]),
                tuple(ids[middle:end]),
                tuple(own),
                truncated=bool(truncated[number]),
            )
        )
        at, sampled = end, sampled + completion
    return turns


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: object, name: str) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PackedTokensError(f"{name}: expected base64, got {str(text)[:20]!r}: {error}") from None


def _inflated(content: bytes) -> bytes:
    """The compressed ids; never more than `MAX_ID_BYTES`, whatever a line claims."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(content, MAX_ID_BYTES)
    except zlib.error as error:
        raise PackedTokensError(f"ids: expected a zlib stream, got {error}") from None
    if not reader.eof or reader.unused_data:
        raise PackedTokensError(f"ids: expected a whole zlib stream of at most {MAX_ID_BYTES:,} bytes")
    return _whole(found, "ids")


def _whole(content: bytes, name: str) -> bytes:
    if len(content) % 4:
        raise PackedTokensError(f"{name}: expected 4 bytes a token, got {len(content)} bytes")
    return content
