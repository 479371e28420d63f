"""`sdar play` and `sdar envs`: scripted sessions, what is shown and what is not."""

from __future__ import annotations

import io
import json

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.spaces import FreeText
from trainers.cli import main

SMALL = ["--env", "sdar/Household-v0", "--env-kwargs", "size=small"]


class HostileVoice(gym.Env):
    """A world whose text attacks the terminal.

    Args:
        word: What wins.
    """

    def __init__(self, word: str = "plugh") -> None:
        self.word = word
        self.observation_space = FreeText(100)
        self.action_space = FreeText(100)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "\x1b]0;title\x07A \x1b[31mhollow\u202e voice.", {"admissible_actions": ["\x1b[2Jplugh"]}

    def step(self, action):
        won = action == self.word
        return "Done.", float(won), won, False, {}


class QuitVoice(HostileVoice):
    """One of its actions is what people type to leave."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"admissible_actions": ["quit", "stay"]}


gym.register("test/HostileVoice-v0", HostileVoice)
gym.register("test/QuitVoice-v0", QuitVoice)


def plan_of(task_id: str) -> list[str]:
    env = gym.make("sdar/Household-v0", split="valid", size="small")
    _, info = env.reset(options={"task_id": task_id})
    env.close()
    return info["privileged"]["plan"]


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_the_plan_of_the_expert_typed_into_standard_input_wins(monkeypatch, capsys, tmp_path) -> None:
    plan = plan_of("valid:000003")
    type_lines(monkeypatch, *plan)
    record = tmp_path / "episodes.jsonl"
    assert main(["play", *SMALL, "--task", "valid:000003", "--record", str(record)]) == 0
    shown = capsys.readouterr().out
    assert f"won after {len(plan)} steps" in shown
    assert all(f"> {action}" in shown for action in plan)
    episode = json.loads(record.read_text())
    assert episode["success"] is True
    assert [turn["action"] for turn in episode["turns"]] == plan


def test_the_environment_may_be_named_as_a_word_or_as_a_flag_but_not_as_two(monkeypatch, capsys) -> None:
    seen = []
    for words in (["test/HostileVoice-v0"], ["--env", "test/HostileVoice-v0"], []):
        type_lines(monkeypatch, ":quit")
        assert main(["play", *words]) == 0
        seen.append(capsys.readouterr().out)
    assert seen[0] == seen[1] != seen[2]
    assert main(["play", "test/HostileVoice-v0", "--env", "sdar/Household-v0"]) == 2
    assert "expected one environment" in capsys.readouterr().err


def test_the_end_of_the_input_leaves_the_episode(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, "look")
    assert main(["play", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "left the episode" in shown
    assert "won" not in shown


def test_quit_after_a_colon_leaves_and_within_a_line_is_an_action(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, "quit it", ":quit", "look")
    assert main(["play", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert shown.count("> ") == 2
    assert "Nothing happens." in shown


def test_actions_lists_what_is_admissible(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, ":actions", ":help")
    assert main(["play", *SMALL, "--index", "1"]) == 0
    shown = capsys.readouterr().out
    env = gym.make("sdar/Household-v0", split="valid", size="small")
    _, info = env.reset(options={"task_id": "valid:000001"})
    assert "; ".join(info["admissible_actions"]) in shown
    assert ":quit leaves" in shown


def test_the_teachers_view_is_shown_only_when_asked_for_and_says_what_it_is(monkeypatch, capsys) -> None:
    next_action = f"The next action is: {plan_of('valid:000000')[0]}"
    type_lines(monkeypatch, "look")
    assert main(["play", *SMALL]) == 0
    without = capsys.readouterr().out
    assert "PRIVILEGED" not in without
    assert next_action not in without
    type_lines(monkeypatch, "look")
    assert main(["play", *SMALL, "--privileged"]) == 0
    shown = capsys.readouterr().out
    assert "PRIVILEGED: for teachers only" in shown
    assert next_action in shown


def test_text_of_the_world_can_not_control_the_terminal(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, ":actions", "\x1b[31mxyzzy", "plugh")
    assert main(["play", "--env", "test/HostileVoice-v0"]) == 0
    shown = capsys.readouterr().out
    assert "won after 2 steps" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_any_gymnasium_environment_with_text_can_be_played(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, "xyzzy")
    assert main(["play", "--env", "test/HostileVoice-v0", "--env-kwargs", "word=xyzzy", "--privileged"]) == 0
    shown = capsys.readouterr().out
    assert "won after 1 step," in shown
    assert "no privileged view" in shown


def test_watching_the_expert_ends_in_success(capsys) -> None:
    assert main(["play", *SMALL, "--agent", "expert", "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("won after") == 2


def test_an_unknown_task_or_split_is_refused_with_the_remedy(capsys) -> None:
    assert main(["play", *SMALL, "--split", "vaild"]) == 2
    assert '"valid"' in capsys.readouterr().err
    assert main(["play", *SMALL, "--index", "99999"]) == 2
    assert "0 to 1999" in capsys.readouterr().err


def test_envs_lists_ids_with_options_splits_and_task_types(capsys) -> None:
    assert main(["envs", "--env", "sdar/Household-v0"]) == 0
    shown = capsys.readouterr().out
    assert "train 100,000 tasks, valid 2,000 tasks, test 2,000 tasks" in shown
    assert "place, two, light, clean, heat, cool" in shown
    for option in ("size", "regularity", "stale", "engine"):
        assert option in shown


def test_envs_is_a_line_for_each_world_and_says_where_the_rest_is(capsys) -> None:
    assert main(["envs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= len(sdar_envs.ENVIRONMENTS) + 5
    for env_id in sdar_envs.ENVIRONMENTS:
        [line] = [line for line in lines if line.startswith(f"{env_id} ")]
        assert len(line.split()) > 3  # what it is
    assert any("sdar envs ID" in line for line in lines) and any("sdar envs --all" in line for line in lines)


def test_an_id_as_a_word_is_the_same_as_the_flag_and_all_holds_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sdar_envs, "ENVIRONMENTS", {"sdar/Haggle-v0": sdar_envs.ENVIRONMENTS["sdar/Haggle-v0"]})
    shown = []
    for words in (["sdar/Haggle-v0"], ["--env", "sdar/Haggle-v0"], ["--all"], ["--verbose"]):
        assert main(["envs", *words]) == 0
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1 and "opponent" in shown[0] and "players without a model" in shown[0]


@pytest.mark.parametrize("word", ["quit", "exit", " Quit", ":quit", ":exit"])
def test_words_that_people_type_to_leave_leave_and_say_so(monkeypatch, capsys, word: str) -> None:
    type_lines(monkeypatch, "look", word)
    assert main(["play", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "left the episode" and "Nothing happens" not in shown.rpartition(word.strip())[2]


def test_a_world_whose_action_is_called_quit_can_be_played(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, "quit", ":quit")
    assert main(["play", "--env", "test/QuitVoice-v0", "--env-kwargs", "word=quit"]) == 0
    assert "won after 1 step" in capsys.readouterr().out


def test_envs_describes_a_third_partys_environment_from_its_docstring(capsys) -> None:
    assert main(["envs", "--env", "test/HostileVoice-v0"]) == 0
    shown = capsys.readouterr().out
    assert "word" in shown
    assert "What wins." in shown
