"""Packed tokens: what comes out is what went in, and a damaged line says what is the matter."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import TurnTokens
from trainers.run.packed_tokens import PackedTokensError, pack_tokens, unpack_tokens

IDS = st.lists(st.integers(0, 2**32 - 1), max_size=6).map(tuple)
FLOAT32 = st.floats(-1e4, 0.0, width=32)


@st.composite
def turn(draw: st.DrawFn) -> TurnTokens:
    completion = draw(IDS)
    logprobs = tuple(draw(FLOAT32) for _ in completion)
    return TurnTokens(draw(IDS), draw(st.booleans()), completion, logprobs, truncated=draw(st.booleans()))


@settings(max_examples=40, deadline=None)
@given(st.lists(turn(), max_size=4))
def test_ids_and_float32_logprobs_come_back_exactly_through_a_line_of_json(turns: list[TurnTokens]) -> None:
    assert unpack_tokens(json.loads(json.dumps(pack_tokens(turns)))) == turns


def test_repeated_prompts_cost_less_than_a_character_an_id() -> None:
    prompt = tuple(int(i) for i in np.random.default_rng(0).integers(0, 150_000, 400))
    packed = pack_tokens([TurnTokens(prompt, False, (1, 2), (-0.5, -0.5)) for _ in range(10)])
    assert len(packed["ids"]) < 0.7 * 4_020 and len(json.dumps(prompt)) * 10 > 6 * 4_020


def changed(**changes: Any) -> dict[str, Any]:
    return {**pack_tokens([TurnTokens((1, 2), False, (3,), (-0.5,))]), **changes}


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ({"ids": ""}, "prompt_lengths"),
        (changed(prompt_lengths=[3]), "expected 3 \\+ 1 ids"),
        (changed(prompt_lengths=[-1], completion_lengths=[4]), "at least 0"),
        (changed(continues=[]), "one length, one continuation"),
        (changed(ids="no base64!"), "ids: expected base64"),
        (changed(ids=base64.b64encode(b"no zlib").decode()), "expected a zlib stream"),
        (changed(ids=base64.b64encode(zlib.compress(b"12345")).decode()), "4 bytes a token"),
        (changed(ids=base64.b64encode(zlib.compress(b"1234" * 3)[:-1]).decode()), "whole zlib stream"),
        (changed(logprobs=base64.b64encode(b"1234" * 2).decode()), "2 log-probs"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_named(packed: dict[str, Any], expected: str) -> None:
    with pytest.raises(PackedTokensError, match=expected):
        unpack_tokens(packed)


def test_a_line_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.run.packed_tokens.MAX_ID_BYTES", 1000)
    bomb = base64.b64encode(zlib.compress(bytes(10_000))).decode()
    with pytest.raises(PackedTokensError, match="at most 1,000 bytes"):
        unpack_tokens(changed(ids=bomb))
