"""What was asked for and is not read: said once, with the reason, and of nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from trainers.cli.unused_options import unread
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.options.reading import CONDITIONS, NAMED_BY_METHOD

OPTIONS = dataclasses.fields(SDARConfig)


def said(given: dict[str, Any], **others: Any) -> list[str]:
    return unread(SDARConfig(**{**others, **given}), given)


@pytest.mark.parametrize(
    ("given", "others", "reason"),
    [
        ({"gate_beta": 3.0}, {"method": "rlsd"}, "gate_beta is not read: `sdar methods rlsd` has what"),
        ({"distill_coef": 0.3}, {"method": "grpo"}, "distill_coef is not read: method 'grpo' adds nothing"),
        ({"divergence_alpha": 0.3}, {"method": "opsd-full"}, "divergence is reverse_kl"),
        ({"divergence_alpha": 0.3}, {"method": "sdar"}, "what method 'sdar' reads"),
        ({"advantage": "gigpo", "gigpo_gamma": 0.9}, {"method": "rft"}, "advantage, gigpo_gamma are not read"),
        ({"gigpo_similarity": 0.9}, {}, "the advantage is grpo"),
        ({"advantage": "rloo", "scale_rewards": "none"}, {}, "scale_rewards is not read: rloo"),
        ({"kl_estimator": "k2"}, {"beta": 0.0}, "beta is 0"),
        ({"kl_estimator": "k2"}, {"kl_placement": "advantage"}, "the KL is k1"),
        ({"num_mini_batches": 4}, {"mini_batch_rows": 8}, "mini_batch_rows is set"),
        ({"ucb_c": 1.0}, {}, "retrieval is task_type"),
        ({"teacher_combine": "max"}, {}, "privilege=skill is one context"),
        ({"teacher_combine": "max", "privilege": "skill+plan"}, {"method": "grpo"}, "reads no teacher"),
        ({"learning_rate": 1e-3}, {"method": "vanilla"}, "method 'vanilla' has no iterations"),
        ({}, {"method": "adrs", "max_steps": 20}, "is 0 in all 20 iterations"),
    ],
)
def test_what_is_not_read_is_named_once_with_the_reason(
    given: dict[str, Any], others: dict[str, Any], reason: str
) -> None:
    (line,) = said(given, **others)
    assert reason in line


@pytest.mark.parametrize(
    "given",
    [
        {"gate_beta": 3.0, "distill_coef": 0.3, "learning_rate": 1e-4, "privilege": "plan"},
        {"method": "opsd-full", "divergence": "jsd", "divergence_alpha": 0.3},
        {"advantage": "gigpo", "gigpo_similarity": 0.9, "scale_rewards": "none"},
        {"retrieval": "ucb", "ucb_reward": "gap", "privilege": "skill+plan", "teacher_combine": "max"},
        {"method": "adrs", "max_steps": 21},
        {"method": "adrs", "max_steps": 5, "distill_decay": 0},
        {"method": "sdar", "distill_coef": 0.0},
    ],
)
def test_of_what_is_read_nothing_is_said(given: dict[str, Any]) -> None:
    assert said(given) == []


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_row_reads_the_options_that_it_names(name: str) -> None:
    config = SDARConfig(method=name, divergence="jsd", distill_decay=0)
    assert unread(config, METHODS[name].options) == []


def test_options_of_some_methods_alone_are_those_that_a_method_names() -> None:
    marked = {option.name for option in OPTIONS if NAMED_BY_METHOD in option.metadata["read"]}
    assert marked == {name for method in METHODS.values() for name in method.options}


def test_every_condition_that_an_option_names_is_looked_at_and_every_one_is_named_by_some_option() -> None:
    named = [condition for option in OPTIONS for condition in option.metadata["read"]]
    assert all(condition in CONDITIONS for condition in named)
    assert all(condition in named for condition in CONDITIONS)
