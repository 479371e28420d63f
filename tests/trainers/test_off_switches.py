"""One walk over the whole table: a row that is switched off is its backbone bit for bit, and asks nobody anything."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import changed, gradients, plan_of, random_rows, tiny_model, weighed
from small_runs import make_trainer, weights
from torch import Tensor

from trainers import iteration as iteration_module
from trainers import trainer as trainer_module
from trainers.batch.row import WeighedRow
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.methods import METHODS, Method
from trainers.run import watch as watch_module
from trainers.scoring import scorer as scoring

CONFIG = SDARConfig(
    beta=0.1,
    distill_coef=0.0,
    learning_rate=1e-2,
    weight_decay=0.0,
    device="cpu",
    bf16=False,
    gradient_checkpointing=False,
    micro_batch_tokens=60,
)


def explode(*arguments: object, **keywords: object) -> Any:
    raise AssertionError("a method that is switched off was asked for its signal, weight, statistics or teacher")


def without_injection(method: Method) -> Method:
    """The row with nothing injected."""
    bare: dict[str, Any] = {"injection": "none", "signal": None, "teacher_views": (), "combine": None}
    bare |= {"needs": frozenset(), "statistics": None, "timing": "update"}
    bare["keep"] = None
    return dataclasses.replace(method, **bare)


def untaught(count: int) -> list[WeighedRow]:
    """Rows that no teacher has read."""
    return [changed(row, teachers={}, teacher_logprobs_T={}) for row in random_rows(count)]


def one_step(method: Method) -> tuple[list[float], list[Tensor], list[Tensor]]:
    """Losses of the micro-batches, gradients and the weights after an optimiser step, at coefficient 0."""
    engine = SingleProcess.of(CONFIG)
    own = Updater(engine.prepare(tiny_model()), CONFIG, engine, pad_id=0)
    plan = method.at(0, CONFIG)
    assert plan.coefficient == 0.0
    rows = weighed(plan, untaught(6))
    losses = [float(part.loss) for part in own.accumulate(rows, plan)]
    found = gradients(own.root)
    own.optimizer.zero_grad(set_to_none=True)
    own.optimiser_step(rows, plan)
    return losses, found, [parameter.detach().clone() for parameter in own.root.parameters()]


@pytest.fixture(scope="module")
def backbone() -> tuple[list[float], list[Tensor], list[Tensor]]:
    return one_step(METHODS["grpo"])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_loss_gradients_and_weights_of_a_row_at_coefficient_zero_are_its_backbones_bit_for_bit(
    name: str, backbone: tuple[list[float], list[Tensor], list[Tensor]]
) -> None:
    method = METHODS[name]
    if method.injection != "none":
        statistics = None if method.statistics is None else explode
        method = dataclasses.replace(method, signal=explode, weight=explode, statistics=statistics)
    off = one_step(method)
    expected = backbone if method.pg_coef == 1.0 else one_step(without_injection(METHODS[name]))
    assert off[0] == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(off[1], expected[1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(off[2], expected[2], strict=True))


# Rows whose injection random numbers per token are enough for; the others have tests of their own.
ON = sorted(
    name
    for name, row in METHODS.items()
    if row.injection != "none"
    and "vocabulary" not in row.needs
    and set(row.teacher_views) <= {"teacher"}
    and row.timing == "update"
)


@pytest.mark.parametrize("name", ON)
def test_a_row_that_is_switched_on_is_not_its_backbone(name: str) -> None:
    method = METHODS[name]
    engine, results = SingleProcess.of(CONFIG), []
    for row in (method, without_injection(method)):
        own = Updater(engine.prepare(tiny_model()), CONFIG, engine, pad_id=0)
        rows = [
            changed(each, entropies_T=[0.5] * len(each), progress_T=[0.1 * turn for turn in each.turn_ids_T])
            for each in random_rows(6)
        ]
        plan = plan_of(row, CONFIG, 0.5 if row is method else 0.0)
        own.accumulate(weighed(plan, rows), plan)
        results.append(gradients(own.root))
    assert max(float((a - b).abs().max()) for a, b in zip(*results, strict=True)) > 1e-6


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """One iteration of a small run in which reading a teacher is an error; the weights after it."""
    monkeypatch.setattr(scoring, "read_teachers", explode)
    trainer = make_trainer(folder, method=method, beta=0.0, **options)
    trainer.iteration()
    return trainer, weights(trainer)


OFF = sorted(
    name
    for name, row in METHODS.items()
    if row.injection != "none" and row.pg_coef == 1.0 and row.student_view == "plain" and row.advantage is None
)


def test_a_whole_iteration_of_every_row_at_coefficient_zero_is_grpos_and_reads_no_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = played(tmp_path, monkeypatch, "grpo")
    before = make_trainer(tmp_path, method="grpo").model.state_dict()
    assert any(not torch.equal(expected[key], before[key]) for key in expected)
    for name in OFF:
        _, found = played(tmp_path, monkeypatch, name, distill_coef=0.0)
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


@pytest.mark.parametrize("name", ["grpo+opsd", "constant-gate", "sdar-entropy"])
def test_a_row_that_knows_nothing_of_a_teacher_learns_without_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = played(tmp_path, monkeypatch, "grpo")
    _, found = played(tmp_path, monkeypatch, name, distill_coef=0.5)
    assert any(not torch.equal(found[key], plain[key]) for key in plain)


def test_no_teacher_is_read_any_more_when_a_schedule_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="teacher"):
        played(tmp_path, patch, "rlsd", distill_decay=1)
    monkeypatch.setattr(scoring, "read_teachers", explode)
    trainer = make_trainer(tmp_path, method="rlsd", distill_decay=1, beta=0.0)
    trainer.state.step = 1
    assert trainer.iteration()["coefficient"] == 0.0


def test_no_rows_name_stands_in_the_trainer() -> None:
    files = (trainer_module.__file__, iteration_module.__file__, watch_module.__file__)
    trees = [ast.parse(Path(file).read_text(encoding="utf-8")) for file in files]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert texts & set(METHODS) == set()
    assert {"plain", "ema"} <= texts  # other names do stand there
