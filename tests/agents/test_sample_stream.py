"""Continuous batching: when a request arrives, and who decodes beside it, changes nothing of its sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_cases import VOCABULARY, check_alike, conversation, ids_from, in_lockstep, model, sampler
from tiny_models import make_model

from agents.sampling.base import Sample, SampleRequest, SampleStream
from agents.sampling.batched_stream import BatchedStream
from agents.sampling.local import BatchSampler, LocalStream


def streamed(
    own: BatchSampler, episodes: Sequence[Sequence[SampleRequest]], delays: Sequence[Sequence[int]]
) -> list[list[Sample]]:
    """Play episodes whose environments answer after so many advances; the delay before turn i is ``delays[.][i]``."""
    stream = own.stream()
    samples: list[list[Sample]] = [[] for _ in episodes]
    due = [delay[0] for delay in delays]
    clock = 0
    while any(len(got) < len(requests) for got, requests in zip(samples, episodes, strict=True)):
        for index, requests in enumerate(episodes):
            if due[index] == clock:
                stream.submit(index, requests[len(samples[index])])
        for index, sample in stream.advance():
            samples[index].append(sample)
            if len(samples[index]) == len(episodes[index]):
                own.release([episodes[index][0].slot])
            else:
                due[index] = clock + 1 + delays[index][len(samples[index])]
        clock += 1
    assert stream.pending == 0
    return samples


@given(data=st.data())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_order_of_arrival_gives_the_samples_of_lockstep(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 99))
    turns = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=9))
    window = data.draw(st.booleans())
    delays = [data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)) for n in turns]
    bound = data.draw(st.sampled_from([None, 2, 5]))
    sync = data.draw(st.sampled_from([1, 3]))
    episodes = [conversation(slot, n, seed=seed, window=window) for slot, n in enumerate(turns)]
    expected = in_lockstep(sampler(layout="block"), episodes)
    got = streamed(sampler(cache_gib=gib_for(bound), sync_steps=sync), episodes, delays)
    check_alike(got, expected)


def gib_for(rows: int | None) -> float | None:
    """The bound under which so many rows of 400 tokens of the tiny model fit."""
    if rows is None:
        return None
    columns = 448  # 400 and one, in blocks of 64
    return (rows * columns * 3 * 2 * 2 * 16 * 4 + 1) / 2**30


@pytest.mark.parametrize(("kind", "fast"), [("qwen2", True), ("qwen3", False), ("gpt2", False)])
def test_every_kind_of_model_streams_what_it_samples_in_lockstep(kind: str, fast: bool) -> None:
    episodes = [conversation(slot, 3) for slot in range(6)]
    delays = [[slot, 0, 5 - slot] for slot in range(6)]
    expected = in_lockstep(sampler(kind, fast=fast, layout="block"), episodes)
    check_alike(streamed(sampler(kind, fast=fast), episodes, delays), expected)


def test_requests_join_while_others_decode_and_short_ones_come_back_first() -> None:
    own = sampler(end_ids=[], max_completion_length=12)
    stream = own.stream()
    assert isinstance(stream, SampleStream) and isinstance(stream, LocalStream)
    stream.submit(0, SampleRequest(0, [9, 10, 11], False, ("long",)))
    assert stream.advance() == [] and stream.advance() == []
    short = sampler(end_ids=[], max_completion_length=12, max_context=400)
    stream.submit(1, SampleRequest(1, [12] * 396, False, ("short",)))  # max_context leaves room for four
    came = []
    for clock in range(12):
        came += [(ticket, clock, len(sample.ids)) for ticket, sample in stream.advance()]
    assert came == [(1, 2, 4), (0, 8, 12)]
    (alone,) = short.sample([SampleRequest(0, [9, 10, 11], False, ("long",))])
    assert own.length(0) == 3 + len(alone.ids)


def test_misuse_of_a_stream_is_refused_and_leaves_it_as_it_was() -> None:
    own = sampler()
    stream = own.stream()
    stream.submit(0, SampleRequest(3, [9], False, ("m",)))
    with pytest.raises(ValueError, match="ticket 0 is pending"):
        stream.submit(0, SampleRequest(4, [9], False, ("m",)))
    with pytest.raises(ValueError, match="slot 3 has a pending request"):
        stream.submit(1, SampleRequest(3, [9], False, ("m",)))
    with pytest.raises(ValueError, match="begin it afresh"):
        stream.submit(1, SampleRequest(4, [9], True, ("m",)))
    with pytest.raises(ValueError, match="no room to answer"):
        stream.submit(1, SampleRequest(4, [9] * 400, False, ("m",)))
    with pytest.raises(ValueError, match="expects decode="):
        stream.submit(1, SampleRequest(4, [9], False, ("m",), stop=("x",)))
    for call in (lambda: own.sample([SampleRequest(5, [9], False, ("m",))]), own.stream):
        with pytest.raises(ValueError, match="expected without pending requests, and a stream has 1"):
            call()
    with pytest.raises(ValueError, match="sync_weights is expected without pending requests"):
        own.sync_weights(model("qwen3"), 1)
    while stream.pending:
        came = stream.advance()
    assert [ticket for ticket, _ in came] == [0]


def test_released_slots_drop_their_requests_and_the_others_go_on() -> None:
    own = sampler(end_ids=[])
    stream = own.stream()
    for slot in range(5):
        stream.submit(slot, SampleRequest(slot, [9, 10 + slot], False, ("r", slot)))
    stream.advance()
    own.release([0, 2])
    assert stream.pending == 3 and own.length(0) == 0
    stream.submit(9, SampleRequest(0, [20, 21], False, ("r", 9)))  # the slot can begin again at once
    came: dict[int, Sample] = {}
    while stream.pending:
        came.update(stream.advance())
    assert sorted(came) == [1, 3, 4, 9]
    for ticket, prompt in ((1, [9, 11]), (3, [9, 13]), (9, [20, 21])):
        (alone,) = sampler(end_ids=[]).sample([SampleRequest(0, prompt, False, ("r", ticket))])
        assert came[ticket].ids == alone.ids
    own.release([0, 1, 3, 4])
    assert own.row_engine().cache.keys == [] and own.row_engine().cache.rows == 0  # the memory is given back


def test_a_bound_on_memory_lets_requests_wait_and_no_row_is_made_beyond_it() -> None:
    episodes = [conversation(slot, 3) for slot in range(7)]
    own = sampler(cache_gib=gib_for(2))
    got = streamed(own, episodes, [[0] * 3] * 7)
    assert own.row_engine().most_rows == 2
    check_alike(got, in_lockstep(sampler(layout="block"), episodes))
    rows = sampler(layout="rows", cache_gib=gib_for(3))
    rows.sample([requests[0] for requests in episodes])  # in lockstep, too: in waves
    assert rows.row_engine().cache.rows == 3
    with pytest.raises(ValueError, match=r"holds no slot of 400 tokens, which takes .* GiB: give more"):
        sampler(cache_gib=gib_for(1) / 2).stream()


def test_a_slot_that_gave_up_its_row_is_read_again_and_goes_on() -> None:
    own = sampler(layout="rows", cache_gib=gib_for(1))
    rng = np.random.default_rng(4)
    free = sampler(layout="rows")
    for turn in range(3):
        requests = [SampleRequest(i, ids_from(rng, 2, 9), turn > 0, ("one", i, turn)) for i in range(3)]
        check_alike([own.sample(requests)], [free.sample(requests)])
    assert [own.length(i) for i in range(3)] == [free.length(i) for i in range(3)]
    assert own.row_engine().cache.rows == 1 and free.row_engine().cache.rows == 3


def test_stop_texts_end_a_completion_where_they_end_it_in_lockstep() -> None:
    decode = lambda ids: "".join(chr(97 + i % 26) for i in ids)  # noqa: E731
    requests = [
        SampleRequest(slot, [9, 10 + slot], False, ("s", slot), stop=("a", "bc", "de") if slot % 2 else ())
        for slot in range(8)
    ]
    options: dict[str, Any] = {"decode": decode, "end_ids": [], "max_completion_length": 30}
    expected = sampler(layout="block", **options).sample(requests)
    assert any(not sample.truncated for sample in expected)
    for sync in (1, 4):
        own = sampler(layout="rows", sync_steps=sync, **options)
        check_alike([own.sample(requests)], [expected])
        more = [SampleRequest(slot, [30, 31], True, ("t", slot)) for slot in range(8)]
        again = sampler(layout="block", **options)
        again.sample(requests)
        check_alike([own.sample(more)], [again.sample(more)])  # nothing of what came after a stop is left


def test_new_weights_are_sampled_from_and_nothing_that_was_read_with_others_is_used() -> None:
    own_model = make_model("qwen3", VOCABULARY, positions=512)
    options: dict[str, Any] = {"end_ids": [], "pad_id": 0, "max_completion_length": 5, "max_context": 200}
    own = BatchSampler(own_model, layout="rows", **options)
    prompt = list(range(10, 70))
    request = SampleRequest(0, prompt, False, ("w",))
    (before,) = own.sample([request])
    rows = own.forward_rows
    (same,) = own.sample([request])  # the prompt is held, but for its last token
    assert same.ids == before.ids and own.forward_rows - rows == 5
    with torch.no_grad():
        for parameter in own_model.parameters():
            parameter.mul_(1.2)
    for each in (own, BatchSampler(own_model, layout="rows", **options)):
        (after,) = each.sample([request])
        (fresh,) = BatchSampler(own_model, layout="block", **options).sample([request])
        check_alike([[after]], [[fresh]])
    assert after.logprobs != pytest.approx(before.logprobs, abs=1e-3)
    own.sync_weights(own_model, 8)
    (announced,) = own.sample([request])
    assert announced.version == 8 and announced.ids == after.ids


def test_models_whose_attention_forbids_rows_stream_in_batches() -> None:
    own = sampler("sliding")
    assert isinstance(own.stream(), BatchedStream) and not own.uses_rows
    with pytest.raises(ValueError, match="expects layout='block' for a model with sliding windows"):
        sampler("sliding", layout="rows")
    episodes = [conversation(slot, 2) for slot in range(3)]
    check_alike(streamed(own, episodes, [[0, 1]] * 3), in_lockstep(sampler("sliding"), episodes))


def test_a_small_model_on_a_cpu_is_sampled_over_a_block_and_others_over_rows() -> None:
    assert not sampler().uses_rows and not sampler(layout="block").uses_rows
    assert sampler(layout="rows").uses_rows and sampler(cache_gib=1.0).uses_rows
    with pytest.raises(ValueError, match="layout"):
        sampler(layout="pages")
    for bad in ({"cache_gib": 0.0}, {"sync_steps": 0}):
        with pytest.raises(ValueError, match="BatchSampler expects"):
            sampler(**bad)
