"""Rows one after another give what rows with padding give; budgets then count tokens and no padding."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import gradients, largest_difference, plan_of, random_rows, random_views, tiny_model

from agents.base import View
from trainers.batch.token_batch import micro_batches
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.forward.passes import score_rows

CONFIG = SDARConfig(device="cpu", bf16=False, micro_batch_tokens=60, packing=True, distill_coef=0.5)


def root_of(model: Any, **changes: Any) -> Any:
    return SingleProcess.of(dataclasses.replace(CONFIG, **changes)).prepare(model)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_packed_rows_have_the_log_probs_of_padded_ones(kind: str) -> None:
    views = [*random_views(6), View([1, 2, 3], [])]
    options: dict[str, Any] = {"temperature": 0.7, "pad_id": 0, "token_budget": 60}
    padded = score_rows(root_of(tiny_model(kind), packing=False), views, **options)
    packed = score_rows(root_of(tiny_model(kind)), views, **options)
    assert [len(own) for own in packed] == [len(view.loss_positions) for view in views]
    for left, right in zip(padded, packed, strict=True):
        assert left == pytest.approx(right, abs=2e-6)


@pytest.mark.parametrize("recompute", [False, True])
def test_packed_rows_have_the_gradients_of_padded_ones(recompute: bool) -> None:
    found = []
    for packing in (False, True):
        config = dataclasses.replace(CONFIG, packing=packing, gradient_checkpointing=recompute)
        engine, model = SingleProcess.of(config), tiny_model()
        rows = random_rows(6)
        Updater(engine.prepare(model), config, engine, pad_id=0).accumulate(rows, plan_of("sdar", config, 0.5))
        found.append(gradients(model))
    assert largest_difference(*found) < 1e-6 and max(float(each.abs().max()) for each in found[0]) > 1e-3


def test_a_row_does_not_see_the_rows_before_it() -> None:
    first, second = random_views(2)
    other = View([(token + 1) % 37 for token in first.ids], first.loss_positions)
    options: dict[str, Any] = {"temperature": 1.0, "pad_id": 0, "token_budget": 1000}
    root = root_of(tiny_model())
    assert score_rows(root, [first, second], **options)[1] == score_rows(root, [other, second], **options)[1]


def test_the_budget_of_packed_rows_counts_no_padding() -> None:
    lengths = [10, 2, 2, 2, 2, 2]
    assert micro_batches(lengths, 20) == [[0, 1], [2, 3, 4, 5]]
    assert micro_batches(lengths, 20, packed=True) == [[0, 1, 2, 3, 4, 5]]
    assert micro_batches([30, 5], 20, packed=True) == [[0], [1]]  # a row over the budget is alone


def test_rows_are_packed_by_themselves_only_with_flash_attention_and_never_where_positions_are_learned() -> None:
    model = tiny_model()
    assert not root_of(model, packing="auto").packs_rows
    model.config._attn_implementation = "flash_attention_2"
    assert root_of(model, packing="auto").packs_rows and not root_of(model, packing=False).packs_rows
    with pytest.raises(ValueError, match="keeps rows apart by rotary positions, got GPT2LMHeadModel"):
        root_of(tiny_model("gpt2"))


def test_rotary_frequencies_keep_their_precision_in_a_sixteen_bit_model() -> None:
    exact = {name: buffer.clone() for name, buffer in tiny_model().named_buffers()}
    root = root_of(tiny_model(), bf16=True)
    assert next(root.parameters()).dtype == torch.bfloat16 and exact
    for name, buffer in root.language_model.named_buffers():
        assert buffer.dtype == torch.float32 and torch.equal(buffer, exact[name])


def test_gradients_of_sixteen_bit_parameters_add_up_in_float32_without_rounding_their_sum() -> None:
    config = dataclasses.replace(CONFIG, bf16=True)
    engine = SingleProcess.of(config)
    updater = Updater(engine.prepare(tiny_model()), config, engine, pad_id=0)
    draw = torch.Generator().manual_seed(0)
    parts = [[torch.randn(p.shape, generator=draw).bfloat16() for p in updater.root.parameters()] for _ in range(3)]
    for part in parts:
        for parameter, gradient in zip(updater.root.parameters(), part, strict=True):
            parameter.grad = gradient.clone()
        updater.masters.take_gradients()
    sums = [sum((part.float() for part in own[1:]), own[0].float()) for own in zip(*parts, strict=True)]
    taken = [master.grad for master in updater.masters.masters]
    assert all(torch.equal(left, right) for left, right in zip(taken, sums, strict=True) if left is not None)
    assert all(left is not None for left in taken) and all(p.grad is None for p in updater.root.parameters())
