"""Which parameters read for the teacher: the student's of this iteration, its first, their average, or others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scripted_agents import ParityWorld
from small_runs import make_trainer, weights
from test_lora_runs import LORA, StopAfter, bytes_held
from tiny_models import make_model

from trainers.batch.row import ScoredRow
from trainers.engine.policies import TeacherError
from trainers.methods import METHODS
from trainers.run.directory import RunDirectoryError

pytest.importorskip("peft")
FULL: dict[str, Any] = {}
BOTH = pytest.mark.parametrize("lora", [FULL, LORA], ids=["whole", "adapters"])
TEACHING = sorted(name for name, method in METHODS.items() if method.teacher_views)


def scored_rows(trainer: Any) -> list[ScoredRow]:
    """The rows of the next iteration as the update gets them."""
    seen: list[ScoredRow] = []
    score = trainer.scorer.score

    def watched(*arguments: Any) -> Any:
        scored = score(*arguments)
        seen.extend(scored[0])
        return scored

    trainer.scorer.score = watched
    trainer.iteration()
    trainer.scorer.score = score
    trainer.state.step += 1
    return seen


def read_by(trainer: Any, rows: list[ScoredRow], values: dict[str, torch.Tensor]) -> list[list[float]]:
    """What the live module says of the teacher's views with other parameter values."""
    now = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.model.load_state_dict(values)
    found = trainer.scorer._pass(trainer.scorer.live, [row.teachers["teacher"] for row in rows])
    trainer.model.load_state_dict(now)
    return found


def told(rows: list[ScoredRow]) -> list[list[float]]:
    return [list(row.teacher_logprobs_T["teacher"]) for row in rows]


def largest(left: list[list[float]], right: list[list[float]]) -> float:
    return max(abs(a - b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))


@BOTH
@pytest.mark.parametrize("chosen", [None, "old", "current", "initial", "ema"])
def test_the_teacher_reads_with_the_parameters_that_were_chosen(
    tmp_path: Path, chosen: str | None, lora: dict[str, Any]
) -> None:
    trainer = make_trainer(tmp_path, method="sdar", beta=0.0, teacher_weights=chosen, teacher_ema_decay=0.75, **lora)
    first = weights(trainer)
    scored_rows(trainer)
    second = weights(trainer)
    rows = scored_rows(trainer)
    average = {
        name: 0.75 * first[name] + 0.25 * second[name] if first[name].is_floating_point() else first[name]
        for name in first
    }
    expected = {"initial": first, "ema": average}.get(str(chosen), second)
    others = [each for each in (first, average, second) if each is not expected]
    assert largest(told(rows), read_by(trainer, rows, expected)) < 1e-5
    assert all(largest(told(rows), read_by(trainer, rows, other)) > 1e-4 for other in others)


@pytest.mark.parametrize("method", TEACHING)
def test_every_method_learns_from_a_frozen_teacher(tmp_path: Path, method: str) -> None:
    # Those that are taught for a span of iterations are taught throughout here.
    throughout = {"distill_decay": 0} if method.startswith("adrs") else {}
    trainer = make_trainer(tmp_path, method=method, teacher_weights="initial", max_steps=1, **throughout)
    assert trainer.iteration()["updates_skipped"] == 0.0 and trainer.scorer.teacher is not trainer.scorer.live


def test_what_a_teacher_holds(tmp_path: Path) -> None:
    def held(**options: Any) -> float:
        """Bytes that are held besides the live parameters, in copies of the whole model."""
        trainer = make_trainer(tmp_path, method="sdar", **options)
        readers = [each.root for each in (trainer.scorer.reference, trainer.scorer.teacher) if each is not None]
        average = trainer.updater.average
        values = 0 if average is None else sum(value.numel() * 4 for value in average.values.values())
        own = bytes_held(trainer.root)
        return (bytes_held(trainer.root, *readers) - own + values) / own

    assert held(beta=0.0, teacher_weights="current") == 0.0
    assert held(beta=0.0, teacher_weights="initial") == 1.0
    assert held(beta=0.1, teacher_weights="initial") == 1.0  # the reference is the teacher
    assert held(beta=0.0, teacher_weights="ema") == 1.0
    assert held(beta=0.1, teacher_weights="initial", **LORA) == 0.0
    assert 0.0 < held(beta=0.1, teacher_weights="ema", **LORA) < 0.5  # the adapters alone
    assert held(beta=0.0, teacher_weights="ema", distill_coef=0.0) == 0.0  # and nothing where nothing is taught


@BOTH
@pytest.mark.parametrize("chosen", ["initial", "ema"])
def test_a_run_goes_on_to_the_last_bit(tmp_path: Path, chosen: str, lora: dict[str, Any]) -> None:
    options = {"method": "opsd", "teacher_weights": chosen, "beta": 0.0, "max_steps": 3, "save_steps": 2, **lora}
    (tmp_path / "straight").mkdir()
    straight = make_trainer(tmp_path / "straight", **options)
    straight.train()
    make_trainer(tmp_path, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    resumed = make_trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=True)
    final = weights(straight)
    assert all(torch.equal(final[name], tensor) for name, tensor in weights(resumed).items())
    if chosen == "ema":
        averages = [trainer.updater.average.values for trainer in (straight, resumed)]
        assert all(torch.equal(averages[0][name], value) for name, value in averages[1].items())


@BOTH
def test_a_run_of_before_can_teach(tmp_path: Path, lora: dict[str, Any]) -> None:
    before = make_trainer(tmp_path, method="grpo", max_steps=2, seed=5, output_dir=str(tmp_path / "before"), **lora)
    before.train()
    options = {"method": "sdar", "beta": 0.0, "seed": 5, "teacher_weights": str(tmp_path / "before"), **lora}
    trainer = make_trainer(tmp_path, **options)
    rows = scored_rows(trainer)
    assert largest(told(rows), read_by(trainer, rows, weights(before))) < 1e-5
    # With adapters of the same base model only their values are held.
    assert (trainer.scorer.teacher.root is trainer.root) == bool(lora)
    trainer.train()
    other = make_trainer(tmp_path, method="grpo", max_steps=3, seed=5, output_dir=str(tmp_path / "before"), **lora)
    other.train(resume_from_checkpoint=True)
    with pytest.raises(RunDirectoryError, match="differs in teacher_weights"):
        make_trainer(tmp_path, **options).train(resume_from_checkpoint=True)


def test_a_teacher_that_reads_other_tokens_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    size = len(trainer.processing_class)
    make_model("qwen2", size + 7).save_pretrained(tmp_path / "wider")
    trainer.processing_class.save_pretrained(tmp_path / "wider")
    with pytest.raises(TeacherError, match="expected the student's vocabulary"):
        make_trainer(tmp_path, teacher_weights=str(tmp_path / "wider"))
    trainer.save_model(tmp_path / "other")
    trainer.processing_class.add_tokens(["another"])
    trainer.processing_class.save_pretrained(tmp_path / "other")
    with pytest.raises(TeacherError, match="student's tokenizer"):
        make_trainer(tmp_path, teacher_weights=str(tmp_path / "other"))
    with pytest.raises(ValueError, match="expected current, initial, ema, or a model or run; there is no folder"):
        make_trainer(tmp_path, teacher_weights=str(tmp_path / "nowhere"))


def test_a_world_without_a_teacher_needs_none(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ParityWorld, method="grpo", teacher_weights="ema")
    assert trainer.updater.average is None and trainer.scorer.teacher is trainer.scorer.live
