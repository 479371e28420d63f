"""Sampled tokens and their log-probs with real weights: against `generate`, the trainer, and themselves in a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.base import View
from agents.chat import end_ids
from agents.rendering import ChatRenderer
from agents.sampling.base import SampleRequest
from agents.sampling.local import BatchSampler
from trainers.forward.passes import score_views
from trainers.forward.root import PolicyModel

pytestmark = pytest.mark.pretrained

QUESTIONS = (
    "What is the capital of France?",
    "Name three animals that live in the sea, and say in one sentence what each of them eats.",
    "Hi!",
    "Write the numbers from 1 to 5. " * 6,
)
LONGEST = 12


@pytest.fixture(scope="module")
def renderer(tokenizer: Any) -> ChatRenderer:
    return ChatRenderer(tokenizer)


@pytest.fixture(scope="module")
def prompts(renderer: ChatRenderer) -> list[list[int]]:
    """Prompts of unequal lengths."""
    system = {"role": "system", "content": "Answer in a few words."}
    return [renderer.begin([system, {"role": "user", "content": question}]) for question in QUESTIONS]


def sampler(model: Any, renderer: ChatRenderer) -> BatchSampler:
    return BatchSampler(
        model,
        end_ids=end_ids(renderer, model),
        pad_id=renderer.pad_id,
        max_completion_length=LONGEST,
        max_context=600,
    )


def request(slot: int, ids: list[int], temperature: float, *, turn: int = 0, continues: bool = False) -> SampleRequest:
    return SampleRequest(slot, ids, continues, ("test", slot, turn), temperature)


def test_greedy_in_a_batch_is_what_generate_gives_one_by_one(
    model: Any, renderer: ChatRenderer, prompts: list[list[int]]
) -> None:
    samples = sampler(model, renderer).sample([request(i, ids, 0.0) for i, ids in enumerate(prompts)])
    for ids, sample in zip(prompts, samples, strict=True):
        prompt = torch.tensor([ids])
        alone = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=LONGEST, do_sample=False, use_cache=True
        )
        assert list(sample.ids) == alone[0, len(ids) :].tolist()
    assert {sample.truncated for sample in samples} == {True, False}  # some end by themselves


@pytest.fixture(scope="module")
def rows(model: Any, renderer: ChatRenderer, prompts: list[list[int]]) -> tuple[list[View], list[list[float]]]:
    """Rows of two turns at temperature 1, over a kept cache, with the log-probs that the sampler stated."""
    batch = sampler(model, renderer)
    views, logprobs = [], []
    first = batch.sample([request(i, ids, 1.0) for i, ids in enumerate(prompts)])
    between = [*renderer.encode_text("\n"), *renderer.begin([{"role": "user", "content": "And then?"}])]
    second = batch.sample([request(i, between, 1.0, turn=1, continues=True) for i in range(len(prompts))])
    for ids, one, two in zip(prompts, first, second, strict=True):
        row = [*ids, *one.ids, *between, *two.ids]
        start, again = len(ids), len(ids) + len(one.ids) + len(between)
        positions = [*range(start, start + len(one.ids)), *range(again, again + len(two.ids))]
        views.append(View(row, positions))
        logprobs.append([*one.logprobs, *two.logprobs])
    return views, logprobs


def scored(model: Any, views: list[View], pad_id: int) -> list[list[float]]:
    found = score_views(PolicyModel(model), views, temperature=1.0, pad_id=pad_id, chunk=1024, grad=False).logprobs_BT
    return [found[i, : len(view.loss_positions)].tolist() for i, view in enumerate(views)]


def test_the_trainer_gives_the_log_probs_that_the_sampler_stated(model: Any, renderer: ChatRenderer, rows: Any) -> None:
    views, stated = rows
    for got, wanted in zip(scored(model, views, renderer.pad_id), stated, strict=True):
        assert got == pytest.approx(wanted, abs=1e-4)


def test_a_row_alone_scores_as_in_a_batch_and_whatever_fills_it_up(
    model: Any, renderer: ChatRenderer, rows: Any
) -> None:
    views, _ = rows
    together = scored(model, views, renderer.pad_id)
    for got, wanted in zip(scored(model, views, 17), together, strict=True):
        assert got == pytest.approx(wanted, abs=1e-5)
    for view, wanted in zip(views, together, strict=True):
        assert scored(model, [view], renderer.pad_id)[0] == pytest.approx(wanted, abs=1e-4)


def test_the_same_draws_give_the_same_tokens_alone_and_in_a_batch(
    model: Any, renderer: ChatRenderer, prompts: list[list[int]]
) -> None:
    together = sampler(model, renderer).sample([request(i, ids, 1.0) for i, ids in enumerate(prompts)])
    for i, ids in enumerate(prompts):
        [alone] = sampler(model, renderer).sample([request(i, ids, 1.0)])
        assert alone.ids == together[i].ids


def test_the_end_token_counts_although_it_fills_up_rows(model: Any, renderer: ChatRenderer, rows: Any) -> None:
    views, stated = rows
    ends = [(v, i) for v, view in enumerate(views) for i, at in enumerate(view.loss_positions)
            if view.ids[at] == renderer.pad_id]  # fmt: skip
    assert ends
    found = scored(model, views, renderer.pad_id)
    for v, i in ends:
        assert found[v][i] == pytest.approx(stated[v][i], abs=1e-4) and found[v][i] < 0
