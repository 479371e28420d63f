"""Prompts that rows have in common are read once, and nothing but rounding and speed changes."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import VOCABULARY, gradients, largest_difference, plan_of, random_rows, tiny_model

from agents.base import View
from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import micro_batches
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.forward.passes import score_rows, score_views
from trainers.forward.shared_prompts import prompt_key, shared_prompts

CONFIG = SDARConfig(device="cpu", bf16=False, gradient_checkpointing=False, share_prompts=True, distill_coef=0.5)


def root_of(model: Any, **changes: Any) -> Any:
    return SingleProcess.of(dataclasses.replace(CONFIG, **changes)).prepare(model)


def grouped_views(prompts: list[int], members: int, seed: int = 0) -> list[View]:
    """`members` rows after each prompt of the given length, of unequal length, loss tokens scattered after it."""
    draw = random.Random(seed)
    views = []
    for length in prompts:
        prompt = [draw.randrange(VOCABULARY) for _ in range(length)]
        for _ in range(members):
            rest = [draw.randrange(VOCABULARY) for _ in range(draw.randrange(2, 9))]
            positions = [length, *sorted(draw.sample(range(length + 1, length + len(rest)), len(rest) // 2))]
            views.append(View([*prompt, *rest], positions))
    return views


def grouped_rows(views: list[View]) -> list[WeighedRow]:
    """Rows of random numbers around the views; each row's teacher reads three more tokens first."""
    rows = []
    for row, view in zip(random_rows(len(views)), views, strict=True):
        count = len(view.loss_positions)
        parallel = {
            "behaviour_logprobs_T": [-3.0 - 0.1 * t for t in range(count)],
            "turn_ids_T": [0] * count,
            "invalid_T": [False] * count,
            "advantages_T": [(-1.0) ** t for t in range(count)],
            "reference_logprobs_T": [-3.2] * count,
            "teacher_logprobs_T": {"teacher": [-2.0 - 0.05 * t for t in range(count)]},
        }
        teacher = View([1, 2, 3, *view.ids], [p + 3 for p in view.loss_positions])
        rows.append(dataclasses.replace(row, student=view, teachers={"teacher": teacher}, **parallel))
    return rows


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
@settings(max_examples=12, deadline=None)
@given(prompts=st.lists(st.integers(2, 30), min_size=1, max_size=3), members=st.integers(1, 4), key=st.integers(0, 99))
def test_log_probs_and_entropies_are_those_of_whole_rows(kind: str, prompts: list[int], members: int, key: int) -> None:
    views = grouped_views(prompts, members, key)
    options: dict[str, Any] = {"temperature": 0.7, "pad_id": 0, "grad": False, "entropy": True}
    whole = score_views(root_of(tiny_model(kind), share_prompts=False), views, **options)
    shared = score_views(root_of(tiny_model(kind)), views, **options)
    torch.testing.assert_close(shared.logprobs_BT, whole.logprobs_BT, atol=1e-5, rtol=0)
    torch.testing.assert_close(shared.entropy_BT, whole.entropy_BT, atol=1e-5, rtol=0)
    assert torch.equal(shared.mask_BT, whole.mask_BT)


@pytest.mark.parametrize("prompts", [[20], [20, 20], [20, 9, 14]], ids=["one", "of-one-length", "of-unequal-length"])
def test_gradients_are_those_of_whole_rows(prompts: list[int]) -> None:
    rows = grouped_rows(grouped_views(prompts, members=4))
    found = []
    for share in (False, True):
        config = dataclasses.replace(CONFIG, share_prompts=share)
        engine, model = SingleProcess.of(config), tiny_model()
        Updater(engine.prepare(model), config, engine, pad_id=0).accumulate(rows, plan_of("sdar", config, 0.5))
        found.append(gradients(model))
    # The order of sums is the processor's, so what rounding may leave is measured by the largest gradient.
    largest = max(float(each.abs().max()) for each in found[0])
    assert largest > 1e-3 and largest_difference(*found) < 5e-6 * largest


def test_a_prompt_that_four_rows_share_is_read_once() -> None:
    views = grouped_views([20, 12], members=4)
    model, read = tiny_model(), []
    root = root_of(model)
    model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    score_views(root, views, temperature=1.0, pad_id=0, grad=False)
    rest = max(len(view.ids) - view.loss_positions[0] + 1 for view in views)
    assert read == [(2, 19), (8, rest)]


def test_whole_rows_are_read_where_nothing_is_shared_or_a_row_has_no_prompt_of_its_own() -> None:
    assert shared_prompts(grouped_views([20, 12, 15], members=1)) is None
    spares_one_token_each = [View([1, 2, *range(3, 30)], [2, 9])] * 4
    assert shared_prompts(spares_one_token_each) is None
    first_sampled_at_once = View([1, 2, 3, 4], [1, 3])
    assert shared_prompts([first_sampled_at_once] * 4) is None
    assert shared_prompts([*grouped_views([20], members=4), View([1, 2], [])]) is None


def test_a_row_sees_no_other_row_and_no_padding_of_a_shorter_prompt() -> None:
    views = grouped_views([20, 9], members=3)
    root = root_of(tiny_model())
    options: dict[str, Any] = {"temperature": 1.0, "token_budget": 10_000}
    scores = score_rows(root, views, pad_id=0, **options)
    first = views[0]
    changed = View([*first.ids[:-1], (first.ids[-1] + 1) % VOCABULARY], first.loss_positions)
    assert score_rows(root, [changed, *views[1:]], pad_id=5, **options)[1:] == scores[1:]


def test_rows_of_one_prompt_come_into_one_micro_batch() -> None:
    lengths, prompts = [30, 10, 28, 12, 29, 11], ["a", "b", "a", "b", "b", "a"]
    assert micro_batches(lengths, 90, together=prompts) == [[0, 2, 5], [4, 3, 1]]
    assert micro_batches(lengths, 60, together=prompts) == [[0, 2], [5, 4], [3, 1]]
    assert sorted(at for cut in micro_batches(lengths, 1, together=prompts) for at in cut) == [0, 1, 2, 3, 4, 5]
    views = grouped_views([20, 12], members=3)
    assert len({prompt_key(view) for view in views}) == 2
    apart = [views[at] for at in (0, 3, 1, 4, 2, 5)]
    cut = root_of(tiny_model()).cut(apart, 3 * max(len(view.ids) for view in apart))
    assert sorted(map(sorted, cut)) == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("qwen3", {"gradient_checkpointing": True}, "got gradient_checkpointing"),
        ("qwen3", {"packing": True}, "expected padded rows, got packed ones"),
        ("gpt2", {}, "rotary positions, got GPT2LMHeadModel"),
    ],
)
def test_what_cannot_share_is_refused_with_the_remedy(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        root_of(tiny_model(kind), **changes)
