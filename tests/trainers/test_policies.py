"""From a configuration to the agents of a run: every prompt option reaches the student and its teacher alike."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_agents import ParityWorld
from tiny_models import CHATML_THINKING, make_model, make_tokenizer

from agents.base import Parse
from sdar_envs.privileged import Privileged, StudentView
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.policies import Policies, make_policies

KNOWN = Privileged(
    {
        "task_type": "parity",
        "plan": ["go"],
        "next_action": "go",
        "hints": ["go"],
        "facts": {"answer": "go"},
        "skills": {
            "general": "",
            "task": "",
            "lines": ["go"],
            "compact_lines": ["go"],
            "claim_ids": ["a"],
            "stale": [],
        },
    }
)


def policies_of(**options: Any) -> Policies:
    """Policies over a random Qwen3 model whose template rewrites history."""
    config = SDARConfig(
        **{
            "prompt_style": "compact",
            "context": "transcript",
            "enable_thinking": False,
            "max_completion_length": 8,
            "max_prompt_length": 400,
            "teacher_budget": 100,
            **options,
        }
    )
    tokenizer = make_tokenizer(CHATML_THINKING)
    source = EnvironmentSource(ParityWorld, {})
    try:
        return make_policies(make_model("qwen3", len(tokenizer)), tokenizer, config, METHODS["sdar"], source, None)
    finally:
        source.close()


def view(turn: int) -> StudentView:
    return StudentView(f"You arrive at fridge {turn}.", instruction="go.", task_id="t", turn=turn, draw=("run", 0))


@pytest.mark.parametrize("append", [False, True])
def test_append_history_decides_between_one_row_and_a_row_per_turn_for_student_and_privileged_prompt_alike(
    append: bool,
) -> None:
    policies = policies_of(append_history=append)
    assert policies.privileged_policy is not None
    for agent in (policies.student, policies.evaluator, policies.privileged_policy):
        secrets = [KNOWN] if agent.reads_privileged else None
        actions = [agent.act([view(turn)], secrets)[0] for turn in range(3)]
        assert [action.tokens is not None and action.tokens.continues for action in actions] == [False, append, append]
    assert all(reader.renderer.append_history is append for reader in policies.readers.values())


def test_when_full_decides_whether_a_long_episode_goes_on() -> None:
    for when_full, ends in (("new_row", False), ("stop", True)):
        student = policies_of(when_full=when_full, append_history=True).student
        full = [student.act([view(turn)])[0].context_full for turn in range(12)]
        assert any(full) is ends


@pytest.mark.parametrize(
    ("switch", "asks", "asked"),
    [
        (None, None, True),
        (True, None, True),
        (False, None, False),
        (False, True, True),
        (None, False, False),
        (True, False, False),
    ],
)
def test_the_template_and_the_request_to_think_are_two_switches(
    switch: bool | None, asks: bool | None, asked: bool
) -> None:
    found = policies_of(prompt_style="paper", enable_thinking=switch, ask_for_thinking=asks)
    assert found.renderer.enable_thinking is switch
    assert found.privileged_policy is not None
    for agent in (found.student, found.evaluator, found.privileged_policy):
        assert agent.renderer.enable_thinking is switch
        prompt = agent.style.opening(view(0))[-1]["content"]
        assert ("<think>" in prompt) is asked
        assert ("and nothing else" in prompt) is not asked
        # An action without thinking is malformed exactly where thinking is asked for; it is played all the same.
        action, parse = agent.style.parse("<action>go</action>", False)
        assert (action, parse) == ("go", Parse.NO_THINK_TAG if asked else Parse.OK)
        assert agent.style.parse("<think>so</think><action>go</action>", False) == ("go", Parse.OK)
