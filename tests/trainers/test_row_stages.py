"""Rows are frozen, and a step that is left out is an error that names it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import changed, plan_of, random_rows, tiny_model

from trainers.batch.row import SampledRow, ScoredRow, WeighedRow, advanced, require_stage
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.methods import METHODS, weigh
from trainers.rollout.collect import Rollout
from trainers.scoring.scorer import Scorer

CONFIG = SDARConfig(method="grpo", beta=0.1, learning_rate=1e-2, device="cpu", bf16=False, gradient_checkpointing=False)
STAGES = (SampledRow, ScoredRow, WeighedRow)


def at_stage(row: WeighedRow, stage: type[SampledRow]) -> Any:
    """The row with what is known at an earlier stage."""
    return stage(**{each.name: getattr(row, each.name) for each in dataclasses.fields(stage)})


def rows_at(stage: type[SampledRow], count: int = 4) -> list[Any]:
    return [at_stage(row, stage) for row in random_rows(count)]


def parts(config: SDARConfig = CONFIG) -> tuple[Scorer, Updater]:
    engine = SingleProcess.of(config)
    root = engine.prepare(tiny_model())
    return Scorer(root, engine.frozen(root), config, engine, 0, {}), Updater(root, config, engine, 0)


def advantages(rows: list[Any]) -> dict[int, list[float]]:
    return {row.index: [1.0 - row.index] * len(row) for row in rows}


@pytest.mark.parametrize("stage", STAGES)
def test_no_field_of_a_row_can_be_set(stage: type[SampledRow]) -> None:
    (row,) = rows_at(stage, 1)
    for each in dataclasses.fields(row):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(row, each.name, getattr(row, each.name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        del row.student


def test_a_stage_knows_what_the_one_before_knows_and_more() -> None:
    known = [{each.name for each in dataclasses.fields(stage)} for stage in STAGES]
    assert known[0] < known[1] < known[2]
    assert issubclass(WeighedRow, ScoredRow) and issubclass(ScoredRow, SampledRow)


def test_what_was_known_is_carried_to_the_next_stage_and_the_row_before_stays_as_it_is() -> None:
    (sampled,) = rows_at(SampledRow, 1)
    scored = advanced(sampled, ScoredRow, reference_logprobs_T=[-1.0] * len(sampled))
    weighed = advanced(scored, WeighedRow, advantages_T=[2.0] * len(sampled))
    assert (type(sampled), type(scored), type(weighed)) == STAGES
    for before, after in ((sampled, scored), (scored, weighed)):
        names = {each.name for each in dataclasses.fields(before)} - {"reference_logprobs_T"}
        assert all(getattr(before, name) is getattr(after, name) for name in names)
    assert weighed.reference_logprobs_T == [-1.0] * len(sampled) and weighed.advantages_T == [2.0] * len(sampled)
    with pytest.raises(TypeError, match="advantages_T"):
        advanced(scored, WeighedRow)  # the stage says what it lacks


@pytest.mark.parametrize("stage", [SampledRow, ScoredRow])
def test_an_update_of_rows_that_were_not_weighed_names_the_missing_step_and_changes_nothing(
    stage: type[SampledRow],
) -> None:
    _, updater = parts()
    before = [parameter.detach().clone() for parameter in updater.root.parameters()]
    mixed = [*rows_at(WeighedRow, 3), *rows_at(stage, 1)]
    message = rf"Updater\.update: expected rows of stage WeighedRow, got {stage.__name__} .*weigh the rows first"
    with pytest.raises(TypeError, match=message):
        updater.update(mixed, METHODS["grpo"].at(0, CONFIG))
    assert all(torch.equal(a, b) for a, b in zip(before, updater.root.parameters(), strict=True))
    assert updater.counters.updates == 0


def test_rows_that_were_not_scored_cannot_be_weighed() -> None:
    rows = rows_at(SampledRow)
    with pytest.raises(TypeError, match=r"weigh: expected rows of stage ScoredRow, got SampledRow .*score the rows"):
        weigh(plan_of("grpo", CONFIG), rows, advantages(rows), mask_truncated=False)


def test_a_row_without_advantages_cannot_be_weighed_and_is_named() -> None:
    rows = rows_at(ScoredRow)
    known = advantages(rows)
    del known[2]
    with pytest.raises(ValueError, match=r"expected advantages for every row, got none for rows \[2\]"):
        weigh(plan_of("grpo", CONFIG), rows, known, mask_truncated=False)
    # Where nothing is learned from rewards there are none.
    shown = weigh(plan_of("grpo", CONFIG), rows, None, mask_truncated=False)
    assert all(row.advantages_T == [0.0] * len(row) for row in shown)


def test_advantages_find_their_rows_by_index_in_whatever_order_rows_are_and_however_many_were_left_out() -> None:
    rows = rows_at(ScoredRow, 6)
    known = advantages(rows)
    some = [rows[4], rows[1], rows[5]]
    found = weigh(plan_of("grpo", CONFIG), some, known, mask_truncated=False)
    assert [row.index for row in found] == [4, 1, 5]
    assert [row.advantages_T for row in found] == [known[4], known[1], known[5]]


def test_the_index_of_a_row_survives_scoring_weighing_and_the_update() -> None:
    scorer, updater = parts()
    numbers = [7, 3, 11, 5]
    sampled = [dataclasses.replace(row, index=own) for row, own in zip(rows_at(SampledRow), numbers, strict=True)]
    plan = METHODS["grpo"].at(2, dataclasses.replace(CONFIG, seed=9))
    rollouts: list[Rollout] = []
    scored, _ = scorer.score(sampled, rollouts, plan)
    weighed = weigh(plan, scored, advantages(sampled), mask_truncated=False)
    updater.update(weighed, plan)
    assert [[row.index for row in rows] for rows in (sampled, scored, weighed)] == [numbers] * 3
    assert {type(row) for row in scored} == {ScoredRow} and {type(row) for row in weighed} == {WeighedRow}
    assert all(row.reference_logprobs_T is not None and len(row.reference_logprobs_T) == len(row) for row in scored)
    assert {(row.step, row.seed) for row in weighed} == {(2, 9)}


def test_without_a_coefficient_of_the_kl_there_is_no_reference() -> None:
    scorer, _ = parts(dataclasses.replace(CONFIG, beta=0.0))
    scored, _ = scorer.score(rows_at(SampledRow), [], METHODS["grpo"].at(0, dataclasses.replace(CONFIG, beta=0.0)))
    assert all(row.reference_logprobs_T is None for row in scored)


def test_weighing_returns_new_rows() -> None:
    rows = rows_at(ScoredRow)
    before = [changed(row) for row in rows]
    found = weigh(plan_of("sdar-centred", CONFIG, 1.0), rows, advantages(rows), mask_truncated=False)
    assert rows == before and all("gate_mean" in row.statistics for row in found)


def test_a_stage_that_was_reached_is_asked_for_nothing() -> None:
    require_stage(rows_at(WeighedRow), ScoredRow, "somebody", "do something")
    require_stage([], WeighedRow, "somebody", "do something")
