"""The optimiser step: schedules, masters of 16-bit weights, modes, and how skips are judged."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import changed, plan_of, random_rows, tiny_model, with_advantages

from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess, choose_device, fingerprint
from trainers.engine.updater import MasterWeights, Updater, learning_rate_at, make_optimizer
from trainers.methods import IterationPlan
from trainers.rollout.tasks import TaskPlan

CONFIG = SDARConfig(method="grpo", beta=0.0, learning_rate=1e-2, device="cpu", bf16=False, gradient_checkpointing=False)


def updater(config: SDARConfig = CONFIG, kind: str = "qwen3") -> Updater:
    engine = SingleProcess.of(config)
    return Updater(engine.prepare(tiny_model(kind)), config, engine, pad_id=0)


def plan(config: SDARConfig = CONFIG) -> IterationPlan:
    return plan_of(config.method, config, 0.0)


def flat(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1).float() for p in model.parameters()])


def test_the_learning_rate_warms_up_and_then_stays_or_falls_to_zero() -> None:
    config = dataclasses.replace(CONFIG, warmup_steps=4, max_steps=10, learning_rate=1.0)
    assert [learning_rate_at(config, s) for s in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    linear = dataclasses.replace(config, lr_scheduler_type="linear")
    assert [learning_rate_at(linear, s) for s in (4, 7, 9, 10, 12)] == pytest.approx([1.0, 0.5, 1 / 6, 0.0, 0.0])


def test_weight_decay_acts_on_matrices_only() -> None:
    model = tiny_model()
    groups = make_optimizer(dataclasses.replace(CONFIG, weight_decay=0.3), list(model.named_parameters())).param_groups
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(0.3, {2}), (0.0, {1})]


def test_sixteen_bit_weights_learn_what_is_smaller_than_their_step() -> None:
    model = tiny_model().to(torch.bfloat16)
    weights = MasterWeights(list(model.named_parameters()))
    before = flat(model)
    optimizer = torch.optim.SGD(weights.masters, lr=1e-4)
    for _ in range(200):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1.0)
        weights.take_gradients()
        optimizer.step()
        optimizer.zero_grad()
        weights.publish()
    moved = before - flat(model)
    assert float(moved.mean()) == pytest.approx(200 * 1e-4, rel=0.05)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sixteen_bit_gradients_of_micro_batches_are_added_up_in_thirty_two_bits() -> None:
    model = tiny_model().to(torch.bfloat16)
    weights = MasterWeights(list(model.named_parameters()))
    for value in [1.0] + [1e-3] * 100:  # each of the hundred is less than half a bfloat16 step at 1
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)
        weights.take_gradients()
    small = float(torch.tensor(1e-3).bfloat16())
    assert all(float(m.grad.min()) == pytest.approx(1.0 + 100 * small, rel=1e-5) for m in weights.masters)


def test_the_gradient_of_sixteen_bit_weights_is_the_sum_over_its_micro_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, rows = updater(dataclasses.replace(CONFIG, bf16=True, micro_batch_tokens=1)), random_rows(8)
    moved: list[torch.Tensor] = []
    take = MasterWeights.take_gradients

    def watched(weights: MasterWeights) -> None:
        moved.append(torch.cat([p.grad.float().reshape(-1) for p in own.root.parameters()]))
        take(weights)

    monkeypatch.setattr(MasterWeights, "take_gradients", watched)
    own.accumulate(rows, plan())
    assert len(moved) == 8
    assert torch.equal(sum(moved), torch.cat([m.grad.reshape(-1) for m in own.masters.masters]))


def test_float32_parameters_are_their_own_masters() -> None:
    model = tiny_model()
    weights = MasterWeights(list(model.named_parameters()))
    assert all(m is p for m, p in zip(weights.masters, model.parameters(), strict=True)) and weights.separate() == {}


def test_recomputing_activations_changes_nothing() -> None:
    results = []
    for recompute in (False, True):
        own = updater(dataclasses.replace(CONFIG, gradient_checkpointing=recompute))
        own.update(random_rows(8), plan())
        assert not own.root.training  # sampling and scoring find it in evaluation mode
        results.append(flat(own.root))
    assert torch.equal(results[0], results[1])


def test_dropout_is_off_so_that_sampling_and_training_are_one_policy() -> None:
    config = dataclasses.replace(CONFIG, gradient_checkpointing=True)
    one, two = updater(config, "gpt2"), updater(config, "gpt2")
    assert any(isinstance(m, torch.nn.Dropout) for m in one.root.modules())
    one.update(random_rows(6), plan())
    two.update(random_rows(6), plan())
    assert torch.equal(flat(one.root), flat(two.root))


@pytest.mark.parametrize(("rows", "batches", "wanted", "updates"), [(8, 4, None, 4), (8, 1, 3, 3), (2, 5, None, 2)])
def test_mini_batches_are_optimiser_steps(rows: int, batches: int, wanted: int | None, updates: int) -> None:
    config = dataclasses.replace(CONFIG, num_mini_batches=batches, mini_batch_rows=wanted, num_iterations=2)
    own = updater(config)
    own.update(random_rows(rows), plan())
    assert own.counters.updates == 2 * updates


def test_an_iteration_without_rows_changes_nothing() -> None:
    own = updater()
    before = flat(own.root)
    assert own.update([], plan())["loss"] == 0.0
    assert torch.equal(before, flat(own.root)) and own.counters.updates == 0


def test_rows_that_are_all_truncated_give_no_gradient_when_truncated_ones_are_masked() -> None:
    own = updater(dataclasses.replace(CONFIG, mask_truncated_completions=True))
    rows = [changed(row, truncated=True) for row in random_rows(4)]
    assert own.update(rows, plan())["grad_norm"] == 0.0


def test_skips_that_are_many_but_not_in_a_row_end_the_run_too() -> None:
    own = updater(dataclasses.replace(CONFIG, max_skipped_share=0.01, max_consecutive_skips=100))
    rows = random_rows(4)
    bad = [*with_advantages(rows[:1], float("inf")), *rows[1:]]
    with pytest.raises(RuntimeError, match="6 of 11 updates had non-finite gradients"):
        for _ in range(9):
            own.optimiser_step(bad, plan())
            own.optimiser_step(rows, plan())
    assert torch.isfinite(flat(own.root)).all()


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="expected auto, cpu, cuda or cuda:N, got 'quantum'"):
        choose_device("quantum")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees 0 GPUs"):
            choose_device("cuda:3")


def test_a_fingerprint_tells_weights_apart() -> None:
    one, same, other = tiny_model(seed=0), tiny_model(seed=0), tiny_model(seed=1)
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_the_fingerprint_of_a_large_models_embedding_reads_its_last_value_and_none_behind_it() -> None:
    table = torch.nn.Embedding(49_152, 576, _weight=torch.zeros(49_152, 576, dtype=torch.bfloat16))
    before = fingerprint(table)
    with torch.no_grad():
        table.weight[-1, -1] = 1.0
    assert fingerprint(table) != before


def test_tasks_come_once_per_pass_in_an_order_of_the_seed() -> None:
    ids = [f"t{i}" for i in range(10)]
    tasks = TaskPlan(ids, dataclasses.replace(CONFIG, tasks_per_step=4, num_generations=2))
    walked = [task for step in range(5) for task in tasks.tasks(step)]
    assert sorted(walked[:10]) == sorted(walked[10:]) == sorted(ids) and walked[:10] != walked[10:]
    assert tasks.tasks(1) == TaskPlan(ids, tasks.options).tasks(1)  # asked for first, or after others
    assert TaskPlan(ids, dataclasses.replace(tasks.options, seed=1)).tasks(0) != tasks.tasks(0)
    draws = tasks.draws(3)
    assert [(d.group, d.member) for d in draws] == [(g, m) for g in range(4) for m in range(2)]
    assert len({d.draw for d in [*draws, *tasks.draws(2)]}) == 16
    with pytest.raises(ValueError, match="expected at least one"):
        TaskPlan([], tasks.options)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_a_step_of_plain_gradient_descent_is_as_long_as_the_clipped_gradient(limit: float) -> None:
    own = updater(dataclasses.replace(CONFIG, optim="sgd", weight_decay=0.0, max_grad_norm=limit))
    before = flat(own.root)
    metrics = own.update(random_rows(6), plan())
    moved = float((flat(own.root) - before).norm())
    assert metrics["grad_norm"] > 1e-2  # reported before clipping
    assert moved == pytest.approx(CONFIG.learning_rate * min(metrics["grad_norm"], limit), rel=1e-2)
