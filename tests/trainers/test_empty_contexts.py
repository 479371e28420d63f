"""A teacher that is shown nothing: said once, at the start, with what the environment offers instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted_agents import EchoEnv, ParityWorld
from small_runs import make_trainer

from agents.offered import offered_privileges
from trainers import SDARConfig
from trainers.evaluation.health import judge
from trainers.warm_start.own_environment import OWN_START, make_tiny_model

NO_SKILLS: dict[str, Any] = {"general": "", "task": "", "lines": [], "compact_lines": [], "claim_ids": [], "stale": []}


class NoSkills(ParityWorld):
    """The whole contract, and nothing in a skill bank."""

    env_id = "toy/NoSkills-v0"

    def _privileged(self) -> Any:
        return {**super()._privileged(), "skills": dict(NO_SKILLS), "hints": ["say an even number of characters"]}


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({}, ()),
        ({"skills": NO_SKILLS, "plan": [], "next_action": "", "hints": [], "facts": {}}, ()),
        ({"skills": {**NO_SKILLS, "lines": ["look twice"]}}, ("skill",)),
        ({"skills": {"general": "look twice"}}, ("skill",)),
        ({"skills": "look twice", "facts": {"place": "north"}}, ("facts",)),  # no skills as the contract has them
        ({"plan": ["go"], "next_action": "go", "hints": ["it is north"]}, ("hints", "plan", "next_action")),
    ],
)
def test_what_an_environment_offers_is_what_it_fills(fields: dict[str, Any], offered: tuple[str, ...]) -> None:
    assert offered_privileges(fields) == offered


def warnings_of(said: str) -> list[str]:
    return [line for line in said.splitlines() if "privileged contexts are empty" in line]


def test_a_run_whose_contexts_are_empty_says_so_once_with_what_to_read_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"method": "sdar", "privilege": "skill", "max_steps": 3, "health_patience": 1}
    summary = make_trainer(tmp_path, NoSkills, **changes).train()
    [line] = warnings_of(capsys.readouterr().err)
    assert line.startswith("WARNING: 100% of the privileged contexts are empty (privilege=skill)")
    assert "--privilege hints" in line
    assert [finding["name"] for finding in summary["health"]].count("empty_context") == 1


def test_without_an_evaluation_before_the_iterations_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"method": "sdar", "privilege": "skill", "max_steps": 3, "health_patience": 2, "eval_before": False}
    summary = make_trainer(tmp_path, NoSkills, **changes).train()
    assert len(warnings_of(capsys.readouterr().err)) == 1
    assert "empty_context" in [finding["name"] for finding in summary["health"]]


@pytest.mark.parametrize(
    ("method", "privilege"), [("sdar", "hints"), ("sdar", "none"), ("grpo", "skill")]
)  # read, meant to be empty, read by nobody
def test_runs_that_read_something_or_are_meant_to_read_nothing_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, privilege: str
) -> None:
    make_trainer(tmp_path, NoSkills, method=method, privilege=privilege, max_steps=1, health_patience=1).train()
    assert warnings_of(capsys.readouterr().err) == []


def test_nearly_all_is_enough_and_a_part_is_not() -> None:
    options = SDARConfig()
    for share, found in ((0.94, {}), (0.95, {"empty_context"}), (1.0, {"empty_context"})):
        assert set(judge({"teacher/empty_share": share}, options, instead=lambda: "read the plan")) == set(found)
    assert judge({"teacher/empty_share": 1.0}, options) == {}  # meant to be empty


def test_a_missing_key_is_refused_with_the_privilege_that_could_be_read(tmp_path: Path) -> None:
    class HintsAlone(EchoEnv):
        def reset(self, **kwargs: Any) -> Any:
            observation, info = super().reset(**kwargs)
            return observation, {**info, "privileged": {"hints": ["it is red"]}}

    with pytest.raises(
        ValueError, match=r"got the keys hints\. .* offers hints: take privilege=hints \(--privilege hints\)"
    ):
        make_trainer(tmp_path, HintsAlone, method="sdar", privilege="skill")


def test_a_tiny_model_of_such_an_environment_is_made_with_the_same_warning(tmp_path: Path) -> None:
    lines: list[str] = []
    make_tiny_model(
        SDARConfig.preset("any-tiny"), NoSkills, tmp_path / "tiny", report=lines.append,
        config=OWN_START.__class__(demonstrations=6, min_steps=1, decay_steps=1, gate_episodes=2),
    )  # fmt: skip
    assert len(warnings_of("\n".join(lines))) == 1 and "--privilege hints" in "".join(lines)
