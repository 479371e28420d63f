"""The parts of sampling over rows: draws without fp64 copies, shared beginnings, groups of lengths, steps as graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sampling_cases import VOCABULARY, check_alike, conversation, ids_from, in_lockstep, model, sampler
from tiny_models import make_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from agents.sampling.base import SampleRequest
from agents.sampling.decode_graphs import DecodeGraphs
from agents.sampling.draft_index import DraftIndex
from agents.sampling.draws import draw
from agents.sampling.fast_forward import FastForward, adapters_of
from agents.sampling.local import BatchSampler
from agents.sampling.prefix import common, leaders, length_groups
from agents.sampling.row_forward import RowForward, bytes_per_token

# Draws.


@pytest.mark.parametrize("vocabulary", [8193, 20_480, 49_152])
def test_a_large_vocabulary_is_drawn_from_by_blocks_and_gives_the_tokens_of_one_cumulative_sum(vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(40, vocabulary, generator=generator) * 4
    logits[1, :-1] = -torch.inf  # the last token alone, in a short block
    logits[2, 5000:] = -torch.inf
    logits[3, :8000] = -torch.inf
    temperatures = torch.rand(40, generator=generator) + 0.5
    uniforms = torch.rand(40, generator=generator, dtype=torch.float64)
    uniforms[4], uniforms[5] = 0.0, 1.0
    greedy = torch.zeros(40, dtype=torch.bool)
    greedy[6] = True
    tokens, logprobs, entropies = draw(logits, temperatures, greedy, uniforms)
    exact = torch.log_softmax(logits.double() / temperatures[:, None].double(), dim=-1)
    in_fp32 = torch.log_softmax(logits / temperatures[:, None], dim=-1)
    sums = in_fp32.exp().cumsum(-1, dtype=torch.float64)
    flat = torch.searchsorted(sums, (uniforms.clamp(max=1 - 1e-12) * sums[:, -1])[:, None], right=True)[:, 0]
    flat[6] = logits[6].argmax()
    assert tokens.tolist() == flat.tolist()
    assert torch.equal(logprobs, in_fp32.gather(1, tokens[:, None])[:, 0])
    torch.testing.assert_close(entropies.double(), torch.special.entr(exact.exp()).sum(-1), atol=5e-5, rtol=0)
    assert tokens[1] == vocabulary - 1 and entropies[1] == 0


# What prompts share, and how they are read.


@given(prompts=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=80), min_size=1, max_size=8))
def test_a_copied_beginning_is_the_beginning_and_leaves_a_token_to_read_or_the_same_logits(
    prompts: list[list[int]],
) -> None:
    copies = leaders(prompts, [0] * len(prompts))
    for prompt, (leader, shared) in zip(prompts, copies, strict=True):
        if leader is None:
            assert shared == 0
            continue
        assert copies[leader] == (None, 0)
        assert prompts[leader][:shared] == prompt[:shared]
        assert shared < len(prompt) or prompts[leader] == prompt
    distinct = {tuple(prompt) for prompt in prompts}
    assert sum(leader is None for leader, _ in copies) <= len(distinct)


def test_common_beginnings_by_hand() -> None:
    assert common([1, 2, 3], [1, 2, 4], 9) == 2
    assert common([1, 2, 3], [1, 2], 9) == 2 and common([1, 2, 3], [1, 2, 3], 1) == 1
    assert common([5], [6], 9) == 0 and common([], [6], 9) == 0
    long = list(range(50))
    assert leaders([long, [*long, 7], [9], long], [0] * 4) == [(None, 0), (0, 50), (None, 0), (0, 50)]
    assert leaders([long, [*long, 7]], [0, 30]) == [(None, 0), (None, 0)]  # 20 more are not worth a copy


@given(lengths=st.lists(st.integers(1, 900), min_size=1, max_size=9), most=st.integers(100, 3000))
def test_groups_of_lengths_hold_every_row_once_within_the_bound_and_no_partition_is_cheaper(
    lengths: list[int], most: int
) -> None:
    groups = length_groups(lengths, most, overhead=64)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    padded = [len(group) * max(lengths[i] for i in group) for group in groups]
    assert all(cost <= most or len(group) == 1 for cost, group in zip(padded, groups, strict=True))
    one_by_one = sum(lengths) + 64 * len(lengths)
    together = max(lengths) * len(lengths) + 64
    cost = sum(padded) + 64 * len(groups)
    assert cost <= one_by_one
    if together - 64 <= most:
        # One pass is also taken where padding costs less than another pass would.
        assert cost <= together


def test_prompts_of_22_to_387_tokens_are_not_padded_to_one_block() -> None:
    lengths = [22, 30, 41, 55, 60, 80, 95, 110, 130, 200, 350, 387]
    groups = length_groups(lengths, 32_768)
    assert sum(len(group) * max(lengths[i] for i in group) for group in groups) < 2400 < 12 * 387
    assert len(groups) == 3


def fed_tokens(own: BatchSampler, requests: Sequence[SampleRequest]) -> int:
    """Tokens that the passes of a call are given, padding included."""
    fed = 0
    run = RowForward._run

    def counted(self: RowForward, ids: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        nonlocal fed
        fed += ids.numel()
        return run(self, ids, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowForward, "_run", counted)
        own.sample(requests)
    return fed


def test_a_window_is_read_from_where_it_differs_from_the_last_and_members_share_their_beginning() -> None:
    own = sampler(layout="rows", max_completion_length=1, end_ids=[])
    head = list(range(8, 88))
    first = [SampleRequest(i, [*head, 8 + i % 2], False, ("w", i)) for i in range(6)]
    # Two leaders... of which the second begins like the first: 81 tokens, then one more.
    assert fed_tokens(own, first) == 81 + 3
    later = [SampleRequest(i, [*head, 20 + i, 21, 22], False, ("w", i, 1)) for i in range(6)]
    assert fed_tokens(own, later) == 6 * 3
    others = [SampleRequest(i, [*head, 40 + i], False, ("w", i, 2)) for i in (10, 11)]
    assert fed_tokens(own, others) == 2  # a slot that is there lends its beginning
    check_alike([own.sample(later)], [sampler(layout="block", max_completion_length=1, end_ids=[]).sample(later)])


@pytest.mark.parametrize("window", [False, True])
def test_rows_give_what_a_padded_block_gives(window: bool) -> None:
    episodes = [conversation(slot // 2 if slot < 4 else slot, 3, window=window) for slot in range(7)]
    episodes = [[SampleRequest(i, *_rest(r)) for r in requests] for i, requests in enumerate(episodes)]
    expected = in_lockstep(sampler(layout="block"), episodes)
    for options in ({}, {"sync_steps": 3}, {"prompt_lookup_num_tokens": 4}, {"fast": False}):
        check_alike(in_lockstep(sampler(layout="rows", **options), episodes), expected)


def _rest(request: SampleRequest) -> tuple[Sequence[int], bool, tuple[int | str, ...]]:
    return request.prompt_ids, request.continues, request.draw


# Guesses ahead.


def test_guesses_follow_what_was_seen_and_stop_where_they_were_wrong_as_often() -> None:
    index = DraftIndex()
    assert index.guess([1, 2, 3], 9) == []
    index.learn([1, 2, 3, 4, 5, 6], start=3)
    assert index.guess([9, 1, 2, 3], 9) == [4, 5, 6] and index.guess([1, 2, 3], 2) == [4, 5]
    assert index.guess([2, 3], 9) == []
    index.learn([1, 2, 3, 7], start=3)
    assert index.guess([1, 2, 3], 9) == []  # once right, once wrong
    for _ in range(2):
        index.learn([1, 2, 3, 7], start=3)
    assert index.guess([1, 2, 3], 9) == [7]


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_guesses_save_passes_and_change_no_sample(temperature: float) -> None:
    episodes = [conversation(slot, 3) for slot in range(5)]
    plain = sampler(layout="rows", temperature=temperature, end_ids=[])
    guessing = sampler(prompt_lookup_num_tokens=6, temperature=temperature, end_ids=[])
    expected = in_lockstep(plain, episodes)
    check_alike(in_lockstep(guessing, episodes), expected)
    before = guessing.row_engine().forward.passes, plain.row_engine().forward.passes
    check_alike(in_lockstep(guessing, episodes), expected)  # the same once more: all of it was seen
    in_lockstep(plain, episodes)
    passes = guessing.row_engine().forward.passes - before[0], plain.row_engine().forward.passes - before[1]
    assert passes[0] < 0.7 * passes[1]


def test_guesses_ahead_end_with_the_limit_the_end_token_and_the_stop_text() -> None:
    decode = lambda ids: "".join(chr(97 + i % 26) for i in ids)  # noqa: E731
    requests = [SampleRequest(s, [9, 10 + s], False, ("s", s), 0.0 if s % 2 else None, ("bc", "a")) for s in range(6)]
    options: dict[str, Any] = {"decode": decode, "max_completion_length": 9}
    expected = sampler(layout="block", **options).sample(requests)
    own = sampler(prompt_lookup_num_tokens=5, **options)
    for _ in range(2):
        check_alike([own.sample(requests)], [expected])


# Steps as graphs: what a CUDA graph does, done on the CPU.


class Recorded(TorchDispatchMode):
    """Notes every operation with its very tensors; `replay` does them again on whatever these hold then.

    As in a CUDA graph, Python does not run again. An operation that hands a value to the host cannot be recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_local_scalar_dense" in str(func):
            raise RuntimeError("the step waits for the device")
        result = func(*args, **(kwargs or {}))
        self.noted.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        with torch.inference_mode():
            for func, args, kwargs, result in self.noted:
                again = func(*args, **kwargs)
                for new, old in zip(_tensors(again), _tensors(result), strict=True):
                    if new.data_ptr() != old.data_ptr():
                        old.copy_(new)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for each in value if isinstance(each, torch.Tensor)] if isinstance(value, (list, tuple)) else []


def recording(step: Callable[[], None]) -> Callable[[], None]:
    """A capture that does not run the step: what it changed is put back."""
    noted = Recorded()
    state = step.func.__self__  # type: ignore[attr-defined]
    before = state.picked(torch.arange(len(state.ids)))
    with noted:
        step()
    state.store(torch.arange(len(state.ids)), before)
    return noted.replay


def graph_sampler(capture: Callable[[Callable[[], None]], Callable[[], None]], own_model: Any = None) -> BatchSampler:
    own = BatchSampler(
        own_model or model("qwen3"),
        end_ids=[3, 4],
        pad_id=0,
        max_completion_length=12,
        max_context=400,
        layout="rows",
        sync_steps=2,
    )
    own.row_engine().graphs = DecodeGraphs(lambda: capture)
    return own


def test_a_step_that_is_replayed_does_what_a_step_does() -> None:
    captures = []

    def counted(step: Callable[[], None]) -> Callable[[], None]:
        captures.append(step)
        return recording(step)

    own = graph_sampler(counted)
    assert own.row_engine().graphs is not None
    plain = sampler(layout="block", end_ids=[3, 4], max_completion_length=12)
    rng = np.random.default_rng(8)
    for turn in range(3):
        requests = [SampleRequest(i, ids_from(rng, 2, 9), turn > 0, ("graph", i, turn)) for i in range(5)]
        check_alike([own.sample(requests)], [plain.sample(requests)])
    assert captures and not own.row_engine().graphs.broken
    assert own.forward_rows < plain.forward_rows  # replays run no Python


def test_graphs_are_made_anew_when_weights_or_buffers_are_others() -> None:
    own_model = make_model("qwen3", VOCABULARY, positions=512)
    own = graph_sampler(recording, own_model)
    requests = [SampleRequest(i, [9, 10, 11 + i], False, ("again", i)) for i in range(3)]
    own.sample(requests)
    for change in ("in place", "other tensors"):
        with torch.no_grad():
            for parameter in own_model.parameters():
                if change == "in place":
                    parameter.mul_(1.1)
                else:
                    parameter.data = parameter.data * 1.1
        own.sync_weights(own_model, 1)
        fresh = BatchSampler(
            own_model, end_ids=[3, 4], pad_id=0, max_completion_length=12, max_context=400, layout="block"
        )
        check_alike([own.sample(requests)], [fresh.sample(requests)])


def test_a_step_that_cannot_be_captured_runs_as_it_is_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    def refused(step: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    own = graph_sampler(refused)
    requests = [SampleRequest(i, [9, 10, 11 + i], False, ("no", i)) for i in range(3)]
    expected = sampler(layout="block", end_ids=[3, 4], max_completion_length=12).sample(requests)
    for _ in range(2):
        check_alike([own.sample(requests)], [expected])
        own.release([0, 1, 2])
    assert sum("without CUDA graphs" in record.message for record in caplog.records) == 1
    assert [DecodeGraphs.rounded(rows) for rows in (1, 3, 9, 33, 128)] == [1, 4, 16, 48, 128]


# The lean pass beyond tiny Qwen models.


def llama(**options: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 64}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True}
    config = LlamaConfig(**sizes, **heads, max_position_embeddings=512, initializer_range=0.1, **options)
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("layout", ["block", "rows"])
@pytest.mark.parametrize("joined", [True, False])
def test_llama_models_and_unjoined_projections_give_what_the_models_own_pass_gives(
    layout: str, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_model = llama()
    assert FastForward.supports(own_model)
    monkeypatch.setattr(FastForward, "joins", staticmethod(lambda _: joined))
    options: dict[str, Any] = {"end_ids": [3, 4], "pad_id": 0, "max_completion_length": 7, "max_context": 400}
    lean = BatchSampler(own_model, layout=layout, **options)
    assert lean.fast is not None and lean.fast.joined == joined
    episodes = [conversation(slot, 3) for slot in range(5)]
    check_alike(in_lockstep(lean, episodes), in_lockstep(BatchSampler(own_model, fast=False, **options), episodes))


def test_the_lean_pass_is_refused_where_it_would_leave_something_out() -> None:
    assert not FastForward.supports(llama(mlp_bias=True))
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    assert not FastForward.supports(llama(rope_parameters=scaled))


@pytest.mark.parametrize("layout", ["block", "rows"])
def test_adapters_that_are_put_in_later_are_part_of_what_is_sampled_from(layout: str) -> None:
    peft = pytest.importorskip("peft")
    own_model = make_model("qwen3", VOCABULARY, positions=512)
    options: dict[str, Any] = {"end_ids": [3, 4], "pad_id": 0, "max_completion_length": 7, "max_context": 400}
    lean = BatchSampler(own_model, layout=layout, **options)
    request = SampleRequest(0, [9, 10, 11], False, ("lora",))
    (before,) = lean.sample([request])
    peft.inject_adapter_in_model(
        peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj", "down_proj"], init_lora_weights=False), own_model
    )
    assert FastForward.supports(own_model) and not FastForward.joins(own_model)
    assert adapters_of(own_model)["disabled"] is False and adapters_of(make_model("qwen3", VOCABULARY)) == {}
    for each in (lean, BatchSampler(own_model, layout=layout, **options)):
        (after,) = each.sample([request])
        (expected,) = BatchSampler(own_model, fast=False, **options).sample([request])
        check_alike([[after]], [[expected]])
    assert after.logprobs != pytest.approx(before.logprobs, abs=1e-3)


def test_the_memory_of_a_token_is_what_the_cache_holds_of_it() -> None:
    for kind in ("qwen2", "qwen3", "gpt2"):
        own = sampler(kind, layout="rows")
        own.sample([SampleRequest(0, [9, 10], False, ("b",))])
        cache = own.row_engine().cache
        held = sum(each.numel() * each.element_size() for each in (*cache.keys, *cache.values))
        assert held == cache.rows * cache.columns * bytes_per_token(model(kind))
