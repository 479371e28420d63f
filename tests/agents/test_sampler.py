"""The kept cache gives what a fresh forward pass gives, and draws depend on nothing but their key."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_model

from agents.sampling.base import NonFiniteLogitsError, Sample, SampleRequest
from agents.sampling.draws import draw
from agents.sampling.fast_forward import FastForward
from agents.sampling.local import BatchSampler
from sdar_envs.randomness import counted_generator

VOCABULARY = 90
ENDS = list(range(8))  # about one token in eleven ends a completion of a random model


@functools.cache
def model(kind: str) -> Any:
    return make_model(kind, VOCABULARY, positions=512)


def sampler(kind: str = "qwen3", **options: Any) -> BatchSampler:
    settings_ = {"end_ids": ENDS, "pad_id": 0, "max_completion_length": 7, "max_context": 400, **options}
    return BatchSampler(model(kind), **settings_)


def ids_from(rng: np.random.Generator, low: int, high: int) -> list[int]:
    return rng.integers(8, VOCABULARY, int(rng.integers(low, high))).tolist()


@torch.no_grad()
def fresh_logprobs(kind: str, ids: list[int], temperature: float) -> torch.Tensor:
    """``[len(ids), vocabulary]``: one row, no padding, no cache."""
    return torch.log_softmax(model(kind)(torch.tensor([ids])).logits[0].float() / (temperature or 1.0), dim=-1)


def check_against_a_fresh_pass(kind: str, past: list[int], sample: Sample, temperature: float) -> None:
    ids = [*past, *sample.ids]
    everything = fresh_logprobs(kind, ids, temperature)[len(past) - 1 : -1]
    expected = everything.gather(1, torch.tensor(sample.ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=1e-5, rtol=0)
    entropies = -(everything.exp() * everything).sum(-1)
    torch.testing.assert_close(torch.tensor(sample.entropies), entropies, atol=1e-5, rtol=0)
    if temperature == 0:
        assert list(sample.ids) == everything.argmax(-1).tolist()


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.3, 0.0])
@pytest.mark.parametrize(
    ("kind", "fast"),
    [("qwen3", True), ("qwen3", False), ("qwen2", True), ("qwen2", False), ("gpt2", False), ("sliding", False)],
)
def test_logprobs_over_a_kept_cache_equal_a_fresh_forward_pass(kind: str, fast: bool, temperature: float) -> None:
    """Ragged prompts, slots that leave, join, pause and begin again: every holes-and-merging path of the cache."""
    rng = np.random.default_rng(3)
    s = sampler(kind, fast=fast, temperature=temperature)
    assert (s.fast is not None) == fast
    past: dict[int, list[int]] = {}
    present = list(range(10))
    for turn in range(7):
        if turn == 2:  # two episodes end
            s.release([0, 1])
            past.pop(0), past.pop(1)
            present = present[2:]
        if turn == 3:  # two others begin
            present += [40, 41]
        acting = present[:3] if turn == 4 else present  # most pause for a turn
        requests = []
        for slot in acting:
            again = turn == 5 and slot == 5
            continues = slot in past and not again
            ids = [9, 10, 11, 12] if turn == 0 and slot > 6 else ids_from(rng, 1, 18)
            requests.append(SampleRequest(slot, ids, continues, ("test", slot, turn)))
            past[slot] = [*past.get(slot, []), *ids] if continues else list(ids)
        for request, sample in zip(requests, s.sample(requests), strict=True):
            check_against_a_fresh_pass(kind, past[request.slot], sample, temperature)
            past[request.slot] += sample.ids
            assert s.length(request.slot) == len(past[request.slot])


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_the_lean_pass_gives_what_the_models_own_pass_gives(kind: str) -> None:
    results = []
    for fast in (True, False):
        s = sampler(kind, fast=fast)
        rng = np.random.default_rng(1)
        results.append(
            [
                s.sample([SampleRequest(i, ids_from(rng, 2, 15), turn > 0, ("x", i, turn)) for i in range(12)])
                for turn in range(4)
            ]
        )
    for lean, own in zip(*results, strict=True):
        assert [a.ids for a in lean] == [b.ids for b in own]
        for a, b in zip(lean, own, strict=True):
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
            np.testing.assert_allclose(a.entropies, b.entropies, atol=1e-5)


@pytest.mark.parametrize("layout", ["block", "rows"])
def test_a_request_may_name_a_length_of_its_own_and_the_others_draw_as_without_it(layout: str) -> None:
    """Without an end id every completion is as long as it may be; the first seven tokens are the same draws."""
    ids = ids_from(np.random.default_rng(5), 20, 30)
    plain = [SampleRequest(slot, ids, False, ("length", slot)) for slot in range(3)]
    named = [plain[0], dataclasses.replace(plain[1], max_tokens=19), dataclasses.replace(plain[2], max_tokens=3)]
    usual = sampler(end_ids=[], layout=layout).sample(plain)
    found = sampler(end_ids=[], layout=layout, longest_completion=19).sample(named)
    assert [len(sample.ids) for sample in usual] == [7, 7, 7]
    assert [len(sample.ids) for sample in found] == [7, 19, 3] and all(sample.truncated for sample in found)
    assert [sample.ids[:3] for sample in found] == [sample.ids[:3] for sample in usual]
    assert found[0].ids == usual[0].ids and found[1].ids[:7] == usual[1].ids


@pytest.mark.parametrize("tokens", [0, 8])
def test_a_length_that_the_sampler_was_not_made_for_is_refused(tokens: int) -> None:
    request = SampleRequest(0, [9, 10], False, ("length",), max_tokens=tokens)
    with pytest.raises(ValueError, match=f"slot 0 is expected to ask for 1 to 7 tokens, got {tokens}"):
        sampler().sample([request])


def test_the_lean_pass_is_used_only_where_it_is_proved() -> None:
    assert FastForward.supports(model("qwen2")) and FastForward.supports(model("qwen3"))
    assert not FastForward.supports(model("sliding"))
    assert not FastForward.supports(model("gpt2"))
    half = make_model("qwen3", VOCABULARY).to(torch.bfloat16)
    assert FastForward.supports(half) and not FastForward.joins(half)
    assert BatchSampler(half, end_ids=ENDS, pad_id=0, max_completion_length=3, max_context=9).lockstep.fast is None
    adapted = make_model("qwen3", VOCABULARY)
    adapted.model.layers[0].self_attn.q_proj = torch.nn.Sequential(adapted.model.layers[0].self_attn.q_proj)
    assert not FastForward.supports(adapted)


def test_new_weights_are_seen_at_the_next_call() -> None:
    own = make_model("qwen3", VOCABULARY, positions=512)
    s = BatchSampler(own, end_ids=ENDS, pad_id=0, max_completion_length=3, max_context=100)
    request = SampleRequest(0, [9, 10, 11], False, ("d",))
    before = s.sample([request])[0]
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.mul_(1.3)
    after = s.sample([request])[0]
    expected = torch.log_softmax(own(torch.tensor([[9, 10, 11]])).logits[0, -1], dim=-1)[after.ids[0]]
    assert after.logprobs[0] == pytest.approx(expected.item(), abs=1e-5)
    assert after.logprobs[0] != pytest.approx(before.logprobs[0], abs=1e-3)


def test_alone_or_in_a_batch_of_eight_a_request_gets_the_same_tokens() -> None:
    rng = np.random.default_rng(5)
    requests = [SampleRequest(i, ids_from(rng, 1, 30), False, ("company", i)) for i in range(8)]
    together = sampler().sample(requests)
    backwards = sampler().sample(requests[::-1])[::-1]
    for request, among_eight, reversed_ in zip(requests, together, backwards, strict=True):
        (alone,) = sampler().sample([request])
        assert alone.ids == among_eight.ids == reversed_.ids
        np.testing.assert_allclose(alone.logprobs, among_eight.logprobs, atol=1e-5)


def test_token_i_takes_the_i_th_uniform_of_its_request() -> None:
    (sample,) = sampler().sample([SampleRequest(0, [20, 21, 22], False, ("run", 7, "turn", 0))])
    uniforms = counted_generator("run", 7, "turn", 0).random(len(sample.ids))
    everything = fresh_logprobs("qwen3", [20, 21, 22, *sample.ids], 1.0)[2:-1].exp().double()
    for u, row, token in zip(uniforms, everything, sample.ids, strict=True):
        below, upto = row[:token].sum().item(), row[: token + 1].sum().item()
        assert below - 1e-6 <= u * row.sum().item() <= upto + 1e-6


def test_inverse_cdf_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log().repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.499, 0.501, 0.81, 1.0], dtype=torch.float64)
    tokens, logprobs, entropies = draw(logits, torch.ones(5), torch.zeros(5, dtype=torch.bool), uniforms)
    assert tokens.tolist() == [0, 0, 2, 3, 3]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.5, 0.5, 0.3, 0.2, 0.2]))
    expected = -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))
    assert entropies[0].item() == pytest.approx(expected, abs=1e-6)


@given(
    logits=st.lists(st.one_of(st.floats(-80, 80), st.just(-np.inf)), min_size=1, max_size=12).filter(
        lambda values: max(values) > -np.inf
    ),
    uniform=st.floats(0, 1),
    temperature=st.floats(0.05, 5),
)
@settings(max_examples=200, deadline=None)
def test_a_drawn_token_always_has_a_probability(logits: list[float], uniform: float, temperature: float) -> None:
    tokens, logprobs, entropies = draw(
        torch.tensor([logits]),
        torch.tensor([temperature]),
        torch.zeros(1, dtype=torch.bool),
        torch.tensor([uniform], dtype=torch.float64),
    )
    assert 0 <= tokens.item() < len(logits)
    assert np.isfinite(logprobs.item()) and np.isfinite(entropies.item())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("size", [12, 20_000])  # one sum over the vocabulary, and sums of blocks
@pytest.mark.parametrize("greedy", [False, True])
def test_logits_that_are_not_finite_give_a_log_prob_that_says_so(bad: float, size: int, greedy: bool) -> None:
    logits = torch.zeros(3, size)
    logits[1, 5] = bad
    logits[2, :-1] = -np.inf  # a vocabulary with one word left is fine
    tokens, logprobs, _ = draw(logits, torch.ones(3), torch.tensor([greedy] * 3), torch.full((3,), 0.7).double())
    assert tokens.max() < size and tokens[2] == size - 1
    assert logprobs.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("layout", ["block", "rows"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_whose_logits_are_not_finite_is_an_error_of_its_own(layout: str, temperature: float) -> None:
    broken = make_model("qwen3", 40)
    broken.lm_head.weight.data[7] = np.nan
    bad = BatchSampler(broken, max_completion_length=4, max_context=99, end_ids=(3,), pad_id=0, layout=layout)
    request = SampleRequest(0, [20, 21, 22], continues=False, draw=("x",), temperature=temperature)
    with pytest.raises(NonFiniteLogitsError, match="not finite at token 1 after a prompt of 3 tokens"):
        bad.sample([request])


# What costs and what does not.


def test_finished_episodes_cost_nothing() -> None:
    s = sampler(max_completion_length=4)
    rng = np.random.default_rng(0)
    s.sample([SampleRequest(i, ids_from(rng, 5, 9), False, ("a", i)) for i in range(32)])
    s.release(range(1, 32))
    before = s.forward_rows
    (sample,) = s.sample([SampleRequest(0, [30], True, ("a", 0, 1))])
    assert s.forward_rows - before == len(sample.ids)  # one row: a pass for the prompt, one per further token


def test_rows_that_have_ended_their_turn_are_dropped_when_few_still_write() -> None:
    s = BatchSampler(
        model("qwen3"), end_ids=list(range(45)), pad_id=0, max_completion_length=40, max_context=400, temperature=1.0
    )
    rng = np.random.default_rng(0)
    samples = s.sample([SampleRequest(i, ids_from(rng, 5, 9), False, ("b", i)) for i in range(32)])
    longest = max(len(sample.ids) for sample in samples)
    assert longest > 4
    assert s.forward_rows < 32 * longest * 0.75
    assert s.forward_rows >= sum(len(sample.ids) for sample in samples)


def test_members_of_a_group_share_the_reading_of_their_prompt() -> None:
    s = sampler(max_completion_length=1)
    s.sample([SampleRequest(i, [9 + i // 8, 10, 11], False, ("g", i)) for i in range(16)])
    assert s.forward_rows == 2


def test_holes_are_closed_up() -> None:
    """One long prompt per turn leaves a hole in every other row; the block stays in proportion to its longest row."""
    s = BatchSampler(model("qwen3"), end_ids=list(range(60)), pad_id=0, max_completion_length=12, max_context=500)
    rng = np.random.default_rng(0)
    columns = 0
    for turn in range(25):
        prompts = [ids_from(rng, 20, 21) if (slot + turn) % 24 == 0 else [9] for slot in range(24)]
        samples = s.sample([SampleRequest(i, ids, turn > 0, ("h", i, turn)) for i, ids in enumerate(prompts)])
        columns += 20 + max(len(sample.ids) for sample in samples)
    longest = max(s.length(slot) for slot in range(24))
    assert s.lockstep.cache is not None and columns > 4 * longest
    assert s.lockstep.cache.used <= 1.5 * longest


# Ends, limits, states.


def test_an_end_token_is_sampled_kept_and_last_also_when_it_is_the_padding() -> None:
    for end in range(8, 60):
        s = BatchSampler(model("qwen3"), end_ids=[end], pad_id=end, max_completion_length=200, max_context=400)
        (sample,) = s.sample([SampleRequest(0, [70, 71], False, ("e", end))])
        if not sample.truncated:
            break
    assert sample.ids[-1] == end and sample.ids.count(end) == 1 and len(sample.logprobs) == len(sample.ids)
    check_against_a_fresh_pass("qwen3", [70, 71], sample, 1.0)


def test_the_limit_is_said() -> None:
    s = BatchSampler(model("qwen3"), end_ids=[], pad_id=0, max_completion_length=5, max_context=10)
    (sample,) = s.sample([SampleRequest(0, [70, 71], False, ("l",))])
    assert sample.truncated and len(sample.ids) == 5
    (sample,) = s.sample([SampleRequest(0, [72], True, ("l", 1))])
    assert sample.truncated and len(sample.ids) == 2  # max_context leaves room for two


def test_misuse_is_refused_with_the_remedy() -> None:
    s = sampler(max_context=10)
    with pytest.raises(ValueError, match="begin it afresh"):
        s.sample([SampleRequest(0, [9], True, ("m",))])
    with pytest.raises(ValueError, match="no room to answer"):
        s.sample([SampleRequest(0, [9] * 10, False, ("m",))])
    with pytest.raises(ValueError, match="each slot once"):
        s.sample([SampleRequest(0, [9], False, ("m",)), SampleRequest(0, [9], False, ("m",))])
    with pytest.raises(ValueError, match="begin with a prompt"):
        s.sample([SampleRequest(0, [], False, ("m",))])
    assert s.sample([]) == []


def test_the_model_is_left_as_it_was() -> None:
    own = make_model("qwen3", VOCABULARY, positions=512)
    own.config.attention_dropout = 0.5
    for block in own.model.layers:
        block.self_attn.attention_dropout = 0.5
    own.train()
    state = torch.get_rng_state()
    options = {"end_ids": ENDS, "pad_id": 0, "max_completion_length": 4, "max_context": 50}
    sample = BatchSampler(own, fast=False, **options).sample([SampleRequest(0, [9, 10], False, ("t",))])
    again = BatchSampler(own, fast=False, **options).sample([SampleRequest(0, [9, 10], False, ("t",))])
    assert sample == again  # no dropout while sampling
    assert own.training and all(parameter.grad is None for parameter in own.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_each_request_may_have_its_own_temperature() -> None:
    s = sampler(temperature=1.0)
    prompt = [15, 16, 17]
    cold, warm = s.sample(
        [SampleRequest(0, prompt, False, ("k", 0), temperature=0.0), SampleRequest(1, prompt, False, ("k", 1))]
    )
    check_against_a_fresh_pass("qwen3", prompt, cold, 0.0)
    check_against_a_fresh_pass("qwen3", prompt, warm, 1.0)


def test_half_precision_models_are_sampled_with_logprobs_in_full_precision() -> None:
    own = make_model("qwen3", VOCABULARY, positions=512).to(torch.bfloat16)
    s = BatchSampler(own, end_ids=ENDS, pad_id=0, max_completion_length=7, max_context=400)
    (sample,) = s.sample([SampleRequest(0, [20, 21, 22], False, ("bf16",))])
    with torch.no_grad():
        logits = own(torch.tensor([[20, 21, 22]])).logits[0, -1]
    exact = torch.log_softmax(logits.float(), dim=-1)[sample.ids[0]].item()
    assert sample.logprobs[0] == pytest.approx(exact, abs=1e-6)
    assert sample.logprobs[0] != torch.log_softmax(logits, dim=-1)[sample.ids[0]].item()  # what bf16 would have said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sampling_on_a_gpu_matches_a_fresh_pass_there(dtype: torch.dtype) -> None:
    own = make_model("qwen3", VOCABULARY, positions=512).to("cuda", dtype)
    s = BatchSampler(own, end_ids=ENDS, pad_id=0, max_completion_length=7, max_context=400)
    rng = np.random.default_rng(2)
    past: dict[int, list[int]] = {i: [] for i in range(8)}
    for turn in range(4):
        requests = [SampleRequest(i, ids_from(rng, 2, 14), turn > 0, ("gpu", i, turn)) for i in range(8)]
        for request, sample in zip(requests, s.sample(requests), strict=True):
            past[request.slot] += [*request.prompt_ids, *sample.ids]
            ids = torch.tensor([past[request.slot]], device="cuda")
            with torch.no_grad():
                everything = torch.log_softmax(own(ids).logits[0].float(), dim=-1)
            at = torch.arange(ids.shape[1] - len(sample.ids) - 1, ids.shape[1] - 1, device="cuda")
            expected = everything[at, ids[0, at + 1]].cpu()
            tolerance = 1e-4 if dtype is torch.float32 else 0.1
            torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=tolerance, rtol=0)


def test_a_stop_text_ends_a_completion_with_the_token_that_completes_it(tiny_model_path: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tiny_model_path("qwen2")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    decode = lambda ids: str(tokenizer.decode(list(ids)))  # noqa: E731
    shared: dict[str, Any] = {
        "end_ids": [],
        "pad_id": 0,
        "max_completion_length": 40,
        "max_context": 80,
        "decode": decode,
    }
    prompt = tokenizer("go on", add_special_tokens=False).input_ids
    free, stopped = BatchSampler(model, **shared), BatchSampler(model, **shared)
    [whole] = free.sample([SampleRequest(0, prompt, False, ("stop", 1))])
    text = decode(whole.ids)
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    [cut] = stopped.sample([SampleRequest(0, prompt, False, ("stop", 1), stop=("never there", stop))])
    assert cut.ids == whole.ids[: len(cut.ids)] and cut.logprobs == whole.logprobs[: len(cut.ids)]
    assert stop in decode(cut.ids) and stop not in decode(cut.ids[:-1])
    assert not cut.truncated and whole.truncated
    assert stopped.length(0) == len(prompt) + len(cut.ids)


def test_stop_texts_without_a_way_to_read_tokens_are_refused() -> None:
    model = make_model("qwen2", 40)
    sampler = BatchSampler(model, end_ids=[], pad_id=0, max_completion_length=4, max_context=20)
    with pytest.raises(ValueError, match="expects decode="):
        sampler.sample([SampleRequest(0, [1, 2], False, ("stop", 2), stop=("x",))])
