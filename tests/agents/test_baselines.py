"""Agents without a model: counted, planned, typed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from agents.base import Agent, Parse
from agents.baselines import ExpertAgent, HumanAgent, RandomAgent
from sdar_envs.privileged import Privileged, StudentView

ACTIONS = tuple(f"go to cabinet {n}" for n in range(1, 30))


def view(slot: int = 0, turn: int = 0, draw: tuple[int | str, ...] = ("run", 0)) -> StudentView:
    return StudentView("obs", task_id="t", admissible_actions=ACTIONS, slot=slot, turn=turn, draw=draw)


def test_random_actions_depend_on_the_draw_and_the_turn_and_on_nothing_else() -> None:
    views = [view(slot, turn, ("run", slot)) for slot in range(6) for turn in range(4)]
    together = [action.text for action in RandomAgent(1).act(views)]
    alone = [RandomAgent(1).act([one])[0].text for one in reversed(views)][::-1]
    moved = [action.text for action in RandomAgent(1).act([view(9, v.turn, v.draw) for v in views])]
    assert together == alone == moved
    assert together != [action.text for action in RandomAgent(2).act(views)]
    assert len(set(together)) > 8 and set(together) <= set(ACTIONS)


def test_a_random_agent_without_choices_says_nothing() -> None:
    (action,) = RandomAgent().act([StudentView("obs")])
    assert action.text == "" and action.parse is Parse.EMPTY


def test_the_expert_plays_the_next_action_it_reads() -> None:
    known = [Privileged({"next_action": "open fridge 1"}), Privileged({"next_action": ""})]
    actions = ExpertAgent().act([view(0), view(1)], known)
    assert [(a.text, a.parse) for a in actions] == [("open fridge 1", Parse.OK), ("", Parse.EMPTY)]
    with pytest.raises(ValueError, match="expose_privileged=True"):
        ExpertAgent().act([view()])
    with pytest.raises(ValueError, match="expose_privileged=True"):
        ExpertAgent().act([view()], [None])


def test_a_person_sees_no_control_characters_and_is_offered_the_admissible_actions() -> None:
    shown: list[str] = []
    offered: list[Sequence[str]] = []

    def read(prompt: str, choices: Sequence[str]) -> str:
        offered.append(choices)
        return " go to cabinet 1 "

    (action,) = HumanAgent(read, shown.append).act([StudentView("a\x1b[2Jb\nc", admissible_actions=("x\x07",))])
    assert action.text == "go to cabinet 1" and action.parse is Parse.OK
    assert shown == ["a\N{REPLACEMENT CHARACTER}[2Jb\nc"]
    assert offered == [["x\N{REPLACEMENT CHARACTER}"]]


def test_without_a_terminal_plain_lines_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "look")
    (action,) = HumanAgent().act([StudentView("a room")])
    assert action.text == "look"
    assert "a room" in capsys.readouterr().out


def test_only_the_expert_declares_that_it_reads_privileged_information() -> None:
    agents: list[Agent] = [RandomAgent(), ExpertAgent(), HumanAgent(lambda prompt, choices: "", lambda text: None)]
    assert [agent.reads_privileged for agent in agents] == [False, True, False]


def test_agents_without_a_model_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import agents\n"
        "agents.RandomAgent().act([]); agents.prompt_style('paper'); agents.ExpertAgent; agents.HumanAgent\n"
        "assert agents.PACKAGE_MARKER == 'sdar-gym'\n"
        "assert agents.Teacher and agents.PRIVILEGES\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
