"""Tiny causal LMs with random weights, rows of random tokens, and exact next-token distributions, for the tests."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from agents.base import View
from trainers.batch.row import ScoredRow, WeighedRow
from trainers.methods import METHODS, IterationPlan, Method, weigh
from trainers.options import Options

VOCABULARY = 37


def tiny_model(kind: str = "qwen3", seed: int = 0, vocabulary: int = VOCABULARY) -> Any:
    """A one- or two-layer model of the kind, in float32 and evaluation mode; gpt2 has absolute positions."""
    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 24,
        "initializer_range": 0.3,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            config = GPT2Config(vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=64)
            return GPT2LMHeadModel(config).eval()
        if kind == "qwen2":
            return Qwen2ForCausalLM(Qwen2Config(**shared)).eval()
        return Qwen3ForCausalLM(Qwen3Config(**shared, head_dim=8, tie_word_embeddings=True)).eval()


def random_views(count: int, seed: int = 0, longest: int = 24, vocabulary: int = VOCABULARY) -> list[View]:
    """Sequences of unequal length with unequal numbers of loss positions, scattered."""
    draw = random.Random(seed)
    views = []
    for _ in range(count):
        length = draw.randrange(6, longest)
        ids = [draw.randrange(vocabulary) for _ in range(length)]
        positions = sorted(draw.sample(range(1, length), draw.randrange(1, length - 2)))
        views.append(View(ids, positions))
    return views


def random_rows(count: int, seed: int = 0, group: int = 4) -> list[WeighedRow]:
    """Rows with every per-token field filled at random, as they stand before an update."""
    draw = random.Random(1000 + seed)
    rows = []
    for index, view in enumerate(random_views(count, seed)):
        tokens = len(view.loss_positions)

        def numbers(low: float, high: float, tokens: int = tokens) -> list[float]:
            return [draw.uniform(low, high) for _ in range(tokens)]

        rows.append(
            WeighedRow(
                index=index,
                student=view,
                teachers={"teacher": View([1, 2, 3, *view.ids], [p + 3 for p in view.loss_positions])},
                behaviour_logprobs_T=numbers(-4, -3),
                turn_ids_T=[t // 3 for t in range(tokens)],
                episode_id=index,
                group_id=index // group,
                invalid_T=[False] * tokens,
                advantages_T=numbers(-2, 2),
                reference_logprobs_T=numbers(-4, -3),
                teacher_logprobs_T={"teacher": numbers(-5, -1)},
            )
        )
    return rows


def changed(row: WeighedRow, **fields: Any) -> WeighedRow:
    """The row with other fields: rows are frozen."""
    return dataclasses.replace(row, **fields)


def with_advantages(rows: Sequence[WeighedRow], value: float) -> list[WeighedRow]:
    """The rows, each token of them with the same advantage."""
    return [changed(row, advantages_T=[value] * len(row)) for row in rows]


def plan_of(method: Method | str, options: Options, coef: float | None = None, step: int = 0) -> IterationPlan:
    """The method at an iteration, at a coefficient of the test's own where one is given."""
    own = METHODS[method] if isinstance(method, str) else method
    return own.at(step, options) if coef is None else IterationPlan.resolve(own, options, step=step, coefficient=coef)


def weighed(plan: IterationPlan, rows: Sequence[WeighedRow], *, mask_truncated: bool = False) -> list[WeighedRow]:
    """The rows, weighed (anew) for the plan with the advantages that they have; they are numbered in their order."""
    known = [each.name for each in dataclasses.fields(ScoredRow)]
    scored = [ScoredRow(**{name: getattr(row, name) for name in known} | {"index": i}) for i, row in enumerate(rows)]
    advantages = {index: row.advantages_T for index, row in enumerate(rows)}
    return weigh(plan, scored, advantages, mask_truncated=mask_truncated)


def gradients(model: Any) -> list[torch.Tensor]:
    """Copies of all parameter gradients, zeros where there is none."""
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters() if p.requires_grad]


def largest_difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Largest absolute difference over pairs of tensors."""
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))
