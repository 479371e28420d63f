"""The teacher's whole distributions: exact after the weights have moved, small in memory, refused when too large."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import (
    VOCABULARY,
    changed,
    gradients,
    largest_difference,
    plan_of,
    random_rows,
    random_views,
    tiny_model,
)
from torch import Tensor

from agents.base import View
from trainers.batch.row import WeighedRow
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.forward import logprobs
from trainers.forward.distributions import against, check_memory, read_distributions, required_bytes
from trainers.forward.passes import score_rows, score_views
from trainers.forward.root import PolicyModel
from trainers.maths.divergences import divergence, with_tail
from trainers.options.method import DIVERGENCES

# Two updates per iteration, so that the second finds other weights than the teacher had.
CONFIG = SDARConfig(
    method="opsd-full",
    beta=0.0,
    device="cpu",
    bf16=False,
    gradient_checkpointing=False,
    micro_batch_tokens=60,
    num_mini_batches=2,
)


def read(model: Any, rows: list[WeighedRow], config: SDARConfig = CONFIG) -> list[WeighedRow]:
    """Rows with what the model, as the teacher, thinks of them."""
    scores, tokens = read_distributions(PolicyModel(model), [row.teachers["teacher"] for row in rows], config, pad_id=0)
    return [
        changed(row, teacher_logprobs_T={"teacher": logprobs_T}, teacher_tokens=kept)
        for row, logprobs_T, kept in zip(rows, scores, tokens, strict=True)
    ]


def table(model: Any, view: View, temperature: float) -> Tensor:
    """Log-probs of all next tokens at the loss positions, from the model's full logits, one sequence alone."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([view.ids])).logits[0].float() / temperature
    return torch.log_softmax(logits, -1)[torch.tensor(view.loss_positions) - 1]


def moved(model: Any, seed: int = 3) -> None:
    """What an update does: other weights, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def live_divergence(model: Any, rows: list[WeighedRow], config: SDARConfig) -> list[Tensor]:
    look = against(rows, config, torch.device("cpu"), temperature=config.temperature)
    views = [row.student for row in rows]
    options: dict[str, Any] = {"temperature": config.temperature, "pad_id": 0, "grad": False, "look": look}
    scored = score_views(PolicyModel(model), views, chunk=config.logprob_chunk, **options)
    spread = scored.spread(*scored.looked)
    return [spread[index, : len(row)] for index, row in enumerate(rows)]


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("top_k", [0, 4, VOCABULARY, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_divergence_is_to_what_the_teacher_said_before_the_weights_moved(
    kind: str, top_k: int, temperature: float
) -> None:
    config = dataclasses.replace(CONFIG, divergence=kind, divergence_top_k=top_k, temperature=temperature)
    model, rows = tiny_model(), random_rows(5)
    teachers = [table(model, row.teachers["teacher"], temperature) for row in rows]
    rows = read(model, rows, config)
    moved(model)
    for row, teacher, found in zip(rows, teachers, live_divergence(model, rows, config), strict=True):
        student = table(model, row.student, temperature)
        if 0 < top_k < VOCABULARY:
            ids = teacher.topk(top_k).indices
            student, teacher = with_tail(student, ids), with_tail(teacher, ids)
        assert torch.allclose(found, divergence(student, teacher, kind), atol=2e-5)
        assert found.max() > 1e-3


def test_the_head_is_copied_only_where_an_iteration_has_a_later_update() -> None:
    model, rows = tiny_model(), random_rows(3)
    live = model.get_output_embeddings()

    def kept(**changes: Any) -> Any:
        tokens = read(model, rows, dataclasses.replace(CONFIG, num_mini_batches=1, **changes))[0].teacher_tokens
        assert tokens is not None
        return tokens.head

    assert kept() is live
    for several in ({"num_iterations": 2}, {"mini_batch_rows": 1}):
        copied = kept(**several)
        assert copied is not live and torch.equal(copied.weight, live.weight) and not copied.weight.requires_grad


def test_one_update_against_the_live_head_has_the_gradient_of_one_against_a_copy() -> None:
    found = []
    for repeats in (1, 2):  # of which only the first update is made
        config = dataclasses.replace(CONFIG, num_mini_batches=1, num_iterations=repeats)
        model = tiny_model()
        rows = read(model, random_rows(5), config)
        updater(model, config).accumulate(rows, plan_of(config.method, config, 1.0))
        found.append(gradients(model))
    assert largest_difference(*found) == 0.0 and max(float(each.abs().max()) for each in found[0]) > 0.0


def test_reading_distributions_scores_the_sampled_tokens_bit_for_bit_as_reading_without() -> None:
    model, views = tiny_model(), random_views(7)
    options = {"pad_id": 0, "token_budget": CONFIG.micro_batch_tokens}
    plain = score_rows(PolicyModel(model), views, temperature=CONFIG.temperature, **options)
    for top_k in (0, 3):
        config = dataclasses.replace(CONFIG, divergence_top_k=top_k)
        assert read_distributions(PolicyModel(model), views, config, pad_id=0)[0] == plain


def test_chunks_of_the_head_change_neither_the_divergence_nor_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    for top_k in (0, 3):
        config = dataclasses.replace(CONFIG, divergence_top_k=top_k)
        results = []
        for threshold, chunk in ((10**6, 1024), (1, 4)):
            monkeypatch.setattr(logprobs, "CHUNKED_VOCABULARY", threshold)
            own = dataclasses.replace(config, logprob_chunk=chunk)
            model = tiny_model()
            rows = read(model, random_rows(5), own)
            moved(model)
            updater(model, own).accumulate(rows, plan_of(own.method, own, 1.0))
            results.append((torch.cat(live_divergence(model, rows, own)), gradients(model)))
        assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
        assert largest_difference(results[0][1], results[1][1]) < 1e-6


def updater(model: Any, config: SDARConfig) -> Updater:
    engine = SingleProcess.of(config)
    return Updater(engine.prepare(model), config, engine, pad_id=0)


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("top_k", [0, 4])
def test_the_parameter_gradient_of_an_update_agrees_with_finite_differences(kind: str, top_k: int) -> None:
    config = dataclasses.replace(CONFIG, divergence=kind, divergence_top_k=top_k)
    model = tiny_model()
    rows = read(model, random_rows(4), config)
    moved(model)
    own = updater(model, config)
    own.accumulate(rows, plan_of(config.method, config, 0.7))
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator) for p in model.parameters()]
    slope = sum(
        float((p.grad * d).sum()) for p, d in zip(model.parameters(), direction, strict=True) if p.grad is not None
    )
    model.zero_grad(set_to_none=True)

    def value(step: float) -> float:
        shifted = tiny_model().double()
        with torch.no_grad():
            for mine, theirs, d in zip(shifted.parameters(), model.parameters(), direction, strict=True):
                mine.copy_(theirs.double() + step * d)
        total = 0.0
        teacher_model = tiny_model().double()
        for row in rows:
            teacher, student = full(teacher_model, row.teachers["teacher"]), full(shifted, row.student)
            if top_k:
                ids = teacher.topk(top_k).indices
                student, teacher = with_tail(student, ids), with_tail(teacher, ids)
            total += float(divergence(student, teacher, kind).sum())
        return 0.7 * total / sum(len(row) for row in rows)

    def full(of: Any, view: View) -> Tensor:
        with torch.no_grad():
            logits = of(input_ids=torch.tensor([view.ids])).logits[0]
        return torch.log_softmax(logits, -1)[torch.tensor(view.loss_positions) - 1]

    numeric = (value(1e-4) - value(-1e-4)) / 2e-4
    assert slope == pytest.approx(numeric, rel=2e-3, abs=1e-5)


def test_the_gradient_does_not_depend_on_how_a_step_is_cut() -> None:
    results = []
    for budget in (10_000, 60, 1):
        config = dataclasses.replace(CONFIG, method="gated-full", beta=0.1, micro_batch_tokens=budget)
        model = tiny_model()
        rows = read(model, random_rows(6), config)
        moved(model)
        updater(model, config).accumulate(rows, plan_of(config.method, config, 0.5))
        results.append(gradients(model))
    scale = max(float(g.abs().max()) for g in results[0])
    assert largest_difference(results[0], results[1]) < 2e-6 * max(1.0, scale)
    assert largest_difference(results[0], results[2]) < 2e-6 * max(1.0, scale)


def test_a_row_that_the_teacher_has_not_read_gets_no_divergence_alone_or_beside_others() -> None:
    for top_k in (0, 3):
        model, config = tiny_model(), dataclasses.replace(CONFIG, divergence_top_k=top_k)
        rows = read(model, random_rows(5), config)
        moved(model)
        unread = [changed(row, teacher_logprobs_T={}, teacher_tokens=None) for row in rows[1:4]]
        rows = [rows[0], *unread, rows[4]]
        own = updater(model, config)
        parts = own.accumulate(rows, plan_of(config.method, config, 1.0))
        together = gradients(model)
        assert all(torch.isfinite(part.loss) for part in parts)
        model.zero_grad(set_to_none=True)
        scale = sum(len(row) for row in (rows[0], rows[4])) / sum(len(row) for row in rows)
        own.accumulate([rows[0], rows[4]], plan_of(config.method, config, scale))
        assert largest_difference(together, gradients(model)) < 2e-6


def test_a_batch_that_nothing_was_read_of_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="score the teacher first"):
        against(random_rows(2), CONFIG, torch.device("cpu"), temperature=1.0)


def test_the_divergence_is_zero_and_pushes_nowhere_where_the_teacher_reads_the_students_own_prompt() -> None:
    for top_k in (0, 3):
        model, config = tiny_model(), dataclasses.replace(CONFIG, divergence_top_k=top_k)
        rows = read(model, [changed(row, teachers={"teacher": row.student}) for row in random_rows(4)], config)
        assert max(float(d.abs().max()) for d in live_divergence(model, rows, config)) < 1e-6
        updater(model, config).accumulate(rows, plan_of(config.method, config, 1.0))
        assert max(float(g.abs().max()) for g in gradients(model)) < 1e-6


def held(tensors: list[Any]) -> int:
    """Bytes that these tensors keep in memory; rows of one micro-batch share theirs."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def test_what_is_kept_is_hidden_states_and_one_head_or_a_few_ids() -> None:
    model, views = tiny_model(), random_views(4)
    tokens = sum(len(view.loss_positions) for view in views)
    _, whole = read_distributions(PolicyModel(model), views, CONFIG, pad_id=0)
    assert all(kept.hidden_TH is not None and kept.head is whole[0].head for kept in whole)
    assert held([kept.hidden_TH for kept in whole]) == required_bytes(model.get_output_embeddings(), tokens, 0)
    _, few = read_distributions(PolicyModel(model), views, dataclasses.replace(CONFIG, divergence_top_k=3), pad_id=0)
    stored = [t for kept in few for t in (kept.top_ids_TK, kept.top_logprobs_TK) if t is not None]
    assert all(kept.hidden_TH is None for kept in few)
    assert held(stored) == required_bytes(model.get_output_embeddings(), tokens, 3)


def test_what_would_not_fit_is_refused_before_it_is_read_with_a_top_k_that_would() -> None:
    views = random_views(6)
    tiny = dataclasses.replace(CONFIG, divergence_memory_gb=1e-9)
    with pytest.raises(ValueError, match=r"loss tokens take .* GB, expected at most .*divergence_top_k=100 \("):
        check_memory(tiny_model().get_output_embeddings(), views, tiny)

    def explode(*arguments: object, **keywords: object) -> None:
        raise AssertionError("a forward pass was made")

    model = tiny_model()
    model.get_decoder().forward = explode
    with pytest.raises(ValueError, match="lower tasks_per_step"):
        read_distributions(PolicyModel(model), views, tiny, pad_id=0)
    check_memory(tiny_model().get_output_embeddings(), views, CONFIG)
