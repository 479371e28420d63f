"""Several privileged contexts: readings by name, their combinations by hand, and one teacher for everything behind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed, plan_of, weighed
from scripted_agents import EchoEnv, ParityWorld
from tiny_models import CHATML, make_model, make_tokenizer

from agents.base import View
from agents.teacher import split_privilege
from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import collate
from trainers.config import SDARConfig
from trainers.methods import METHODS, apply
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.policies import Policies, make_policies
from trainers.rollout.teacher_views import TEACHER_COMBINES, combine_readings, readings_of

BOTH = "skill+plan"


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_joined_privilege_is_split_and_nonsense_is_refused() -> None:
    assert split_privilege("skill") == ("skill",)
    assert split_privilege("skill + plan+hints") == ("skill", "plan", "hints")
    for wrong in ("skill+skill", "skill+none", "skill+", "skill+plans"):
        with pytest.raises(ValueError, match="privilege"):
            SDARConfig(privilege=wrong)
    assert SDARConfig(privilege=BOTH).teacher_combine == "mean"


def test_readings_have_names_and_one_privilege_keeps_the_views_as_they_are() -> None:
    sdar, opid = METHODS["sdar"], METHODS["opid"]
    assert readings_of(sdar, SDARConfig(privilege="plan")) == {"teacher": "plan"}
    assert readings_of(opid, SDARConfig()) == {"teacher": "skill", "hints": "hints"}
    assert readings_of(METHODS["grpo"], SDARConfig(privilege=BOTH)) == {}
    joined = SDARConfig(privilege=BOTH)
    assert readings_of(sdar, joined) == {"teacher:skill": "skill", "teacher:plan": "plan"}
    assert readings_of(opid, joined) == {"teacher:skill": "skill", "teacher:plan": "plan", "hints": "hints"}


@pytest.mark.parametrize("name", ["opsd-full", "gated-full", "skill-prompt", "skill-grpo", "context-distillation"])
def test_a_method_with_room_for_one_reading_refuses_joined_privileges(name: str) -> None:
    with pytest.raises(ValueError, match=r"joins 2: choose one of them"):
        readings_of(METHODS[name], SDARConfig(privilege=BOTH))


def test_combinations_by_hand() -> None:
    behaviour = torch.log(numbers(0.4, 0.4, 0.4, 0.4))
    teachers = torch.log(torch.stack([numbers(0.8, 0.5, 0.2, 0.4), numbers(0.6, 0.3, 0.1, 0.8)]))
    combined = {name: combine(teachers, behaviour).exp().tolist() for name, combine in TEACHER_COMBINES.items()}
    assert combined["mean"] == pytest.approx([0.7, 0.4, 0.15, 0.6])
    assert combined["max"] == pytest.approx([0.8, 0.5, 0.2, 0.8])
    # Both up: the smaller step; apart: none; both down: the smaller step; one undecided: none.
    assert combined["agreement"] == pytest.approx([0.6, 0.4, 0.2, 0.4])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-6, 0), min_size=1, max_size=4), st.floats(-6, 0))
def test_agreement_never_goes_further_than_any_teacher_and_mean_lies_between(teachers: list[float], own: float) -> None:
    stacked, behaviour = numbers(*teachers)[:, None], numbers(own)
    agreed = float(TEACHER_COMBINES["agreement"](stacked, behaviour)) - own
    gaps = [teacher - own for teacher in teachers]
    assert abs(agreed) <= min(map(abs, gaps)) + 1e-12
    assert all(agreed * gap >= 0 for gap in gaps)
    mean = float(TEACHER_COMBINES["mean"](stacked, behaviour))
    assert min(teachers) - 1e-9 <= mean <= max(teachers) + 1e-9
    for combine in TEACHER_COMBINES.values():  # several equal teachers are one
        same = combine(numbers(teachers[0], teachers[0])[:, None], behaviour)
        assert float(same) == pytest.approx(teachers[0], abs=1e-12)


def row(**readings: list[float]) -> WeighedRow:
    """A row with log-probs by reading; O is -2 at every token."""
    count = len(next(iter(readings.values())))
    view = View([0] * (count + 1), list(range(1, count + 1)))
    return WeighedRow(
        student=view,
        behaviour_logprobs_T=[-2.0] * count,
        turn_ids_T=[0] * count,
        episode_id=0,
        group_id=0,
        advantages_T=[0.0] * count,
        teacher_logprobs_T={name.replace("_", ":"): values for name, values in readings.items()},
    )


def combined(rows: list[WeighedRow], readings: list[str], how: str) -> tuple[list[WeighedRow], dict[str, float]]:
    """The rows with the views that their readings make, and the metrics."""
    read, behaviour = [row.teacher_logprobs_T for row in rows], [row.behaviour_logprobs_T for row in rows]
    views, metrics = combine_readings(read, behaviour, readings, how)
    return [changed(row, teacher_logprobs_T=own) for row, own in zip(rows, views, strict=True)], metrics


def test_rows_get_one_teacher_and_stay_silent_where_a_reading_is_missing() -> None:
    whole = row(teacher_skill=[-1.0, -3.0], teacher_plan=[-1.5, -1.0], hints=[-1.0, -1.0])
    half = row(teacher_skill=[-1.0])
    (whole, half), metrics = combined([whole, half], ["teacher:skill", "teacher:plan", "hints"], "max")
    assert whole.teacher_logprobs_T["teacher"] == [-1.0, -1.0]
    assert "teacher" not in half.teacher_logprobs_T
    assert metrics == {"teacher/agreement": 0.5}


def test_without_joined_readings_nothing_is_written() -> None:
    single = row(teacher=[-1.0], hints=[-2.0])
    before = dict(single.teacher_logprobs_T)
    (after,), metrics = combined([single], ["teacher", "hints"], "agreement")
    assert metrics == {} and after.teacher_logprobs_T == single.teacher_logprobs_T == before


@pytest.mark.parametrize("name", ["sdar", "grpo+rkl", "rlsd", "skill-sd", "agent-opsd", "pcsd", "adrs"])
def test_any_row_with_a_teacher_takes_the_combined_one(name: str) -> None:
    rows = [row(teacher_skill=[-1.0, -3.0, -2.5], teacher_plan=[-1.5, -1.0, -4.0]) for _ in range(2)]
    rows = [
        changed(each, episode_id=number, return_=float(number), advantages_T=[1.0 - 2 * number] * 3)
        for number, each in enumerate(rows)
    ]
    rows, _ = combined(rows, ["teacher:skill", "teacher:plan"], "agreement")
    method, config = METHODS[name], SDARConfig(beta=0.0)
    rows = weighed(plan_of(method, config, 1.0), rows)
    batch = collate(rows, teacher_views=method.teacher_views)
    assert batch.teachers["teacher"][0].tolist() == pytest.approx([-1.5, -2.0, -2.5])
    batch.student_BT = batch.behaviour_BT.clone().requires_grad_()
    injected = apply(plan_of(method, config, 1.0), batch)
    assert injected.weight_BT is not None and math.isfinite(float(injected.weight_BT.sum()))


def policies_of(name: str, *, env: Any = ParityWorld, context: Any = None, **options: Any) -> Policies:
    config = SDARConfig(
        prompt_style="compact", max_completion_length=8, max_prompt_length=400, teacher_budget=100, **options
    )
    tokenizer, source = make_tokenizer(CHATML), EnvironmentSource(env, {})
    try:
        return make_policies(make_model("qwen2", len(tokenizer)), tokenizer, config, METHODS[name], source, context)
    finally:
        source.close()


def test_each_reading_has_a_reader_of_its_own_and_the_privileged_prompt_policy_has_the_first() -> None:
    policies = policies_of("sdar", privilege="skill+next_action+hints")
    told = {name: reader.privilege for name, reader in policies.readers.items()}
    assert told == {"teacher:skill": "skill", "teacher:next_action": "next_action", "teacher:hints": "hints"}
    assert (
        policies.privileged_policy is not None
        and policies.privileged_policy.teacher is policies.readers["teacher:skill"]
    )
    assert policies.privileged_turns == "every"  # the hints change from turn to turn
    assert policies_of("sdar").privileged_turns == "first"


def test_a_view_by_another_name_is_a_privilege_of_that_name() -> None:
    policies = policies_of("opid", privilege="general")
    assert {name: reader.privilege for name, reader in policies.readers.items()} == {
        "teacher": "general",
        "hints": "hints",
    }


def test_a_users_own_context_is_one_reading() -> None:
    policies = policies_of("sdar", env=EchoEnv, context=lambda info: "say it", privilege=BOTH)
    assert list(policies.readers) == ["teacher"]
    with pytest.raises(ValueError, match=r"also reads hints .* teacher_context= takes its place"):
        policies_of("opid", context=lambda info: "say it")
