"""Seats of games of several roles at the command line: by whichever id, against whom, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import gymnasium as gym
import pytest
from short_runs import save_random_model

import sdar_envs
from agents.base import Action
from sdar_envs.multiagent.haggle.env import HaggleEnv
from sdar_envs.privileged import StudentView
from trainers.cli import main
from trainers.cli.game_ids import game_id, seat_id
from trainers.cli.seats import AgentPlayer, seat_options


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_the_game_and_its_seat_are_taken_for_what_makes_sense_and_it_is_said(capsys: pytest.CaptureFixture) -> None:
    assert seat_id("sdar/Haggle-v0") == "sdar/Haggle-v0" and game_id("sdar/pair-v0") == "sdar/pair-v0"
    assert capsys.readouterr().err == ""
    assert seat_id("sdar/haggle-v0") == "sdar/Haggle-v0"
    assert "sdar/haggle-v0 is the game of all roles; taken here is one seat of it" in capsys.readouterr().err
    assert game_id("sdar/Pair-v0") == "sdar/pair-v0"
    assert "sdar/Pair-v0 is one seat; taken here is the game of all roles" in capsys.readouterr().err
    assert seat_id("sdar/Household-v0") == "sdar/Household-v0"
    with pytest.raises(ValueError, match=r"unknown game 'sdar/Household-v0' for sdar: choose from sdar/haggle-v0"):
        game_id("sdar/Household-v0")


@pytest.mark.parametrize("role", ["shopper_0", "seller_0"])
def test_a_person_takes_a_seat_and_wins_by_the_plan(role: str, monkeypatch, capsys) -> None:
    env = gym.make("sdar/Haggle-v0", split="valid", role=role)
    _, info = env.reset(options={"task_id": "valid:000005"})
    type_lines(monkeypatch, info["privileged"]["next_action"])
    assert main(["play", "sdar/haggle-v0", "--as", role, "--task", "valid:000005"]) == 0
    shown = capsys.readouterr().out
    assert f"you are the {role.partition('_')[0]} of" in shown and "won after 1 step, return 1" in shown
    assert "PRIVILEGED" not in shown


def test_a_person_plays_against_the_scripted_player_that_was_named(monkeypatch, capsys) -> None:
    type_lines(monkeypatch, "wait", "wait", "leave")
    assert main(["play", "sdar/Haggle-v0", "--as", "seller_0", "--against", "silent"]) == 0
    assert capsys.readouterr().out.count("the shopper says nothing.") >= 2


def test_a_runner_is_played_beside_the_usual_cook(monkeypatch, capsys) -> None:
    env = gym.make("sdar/Pair-v0", split="valid")
    _, info = env.reset(options={"task_id": "valid:000004"})
    plan = info["privileged"]["plan"]
    type_lines(monkeypatch, *plan, *["wait"] * 10)
    assert main(["play", "sdar/pair-v0", "--as", "runner_0", "--task", "valid:000004"]) == 0
    assert "the task is done." in capsys.readouterr().out


def test_a_world_of_one_role_has_no_seats_to_name(capsys) -> None:
    assert main(["play", "sdar/Household-v0", "--as", "cook_0"]) == 2
    said = capsys.readouterr().err
    assert "--as and --against name seats of a game of several roles (sdar/Haggle-v0, sdar/Pair-v0)" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--as", "buyer_0"], "unknown role 'buyer_0' for sdar/Haggle-v0"),
        (["--against", "limitter"], 'nearest is "limiter"'),
        (["--against", "runs/nowhere"], "runs/nowhere"),
    ],
)
def test_a_wrong_seat_or_opponent_is_one_line_with_the_nearest(words: list[str], said: str, capsys) -> None:
    assert main(["play", "sdar/Haggle-v0", *words]) == 2
    assert said in capsys.readouterr().err


class Scripted:
    """An agent that offers 60, and notes what it saw and which slots it was told to forget."""

    reads_privileged = False

    def __init__(self) -> None:
        self.views: list[StudentView] = []
        self.released: list[int] = []

    def act(self, views, privileged=None):
        assert privileged is None
        self.views += views
        return [Action("offer 60", "offer 60") for _ in views]

    def release(self, slots) -> None:
        self.released += slots


def test_an_agent_in_a_seat_reads_the_views_of_that_seat_and_forgets_the_game_before() -> None:
    agent = Scripted()
    env = gym.make("sdar/Haggle-v0", role="shopper_0", opponent=AgentPlayer(agent))
    for number in range(3):
        env.reset(options={"task_id": f"train:{number:06d}"})
        env.step("wait")
    assert {view.role for view in agent.views} == {"seller_0"} and len(agent.released) == 3
    assert all("it is worth" not in view.observation for view in agent.views)
    assert isinstance(env.unwrapped, HaggleEnv)


SHORT = [
    *("--preset", "haggle-tiny", "--max-steps", "1", "--tasks-per-step", "2", "--num-generations", "2"),
    *("--num-mini-batches", "1", "--eval-episodes", "4", "--test-episodes", "4", "--eval-steps", "1"),
]


def test_a_run_of_a_seat_is_trained_and_sits_in_the_other_seat_afterwards(monkeypatch, capsys, tmp_path: Path) -> None:
    model, run = save_random_model(tmp_path / "model"), tmp_path / "run"
    words = ["train", "--env", "sdar/haggle-v0", "--model", str(model), "--env-kwargs", "role=both", *SHORT]
    assert main([*words, "--output-dir", str(run)]) == 0
    said = capsys.readouterr()
    assert "taken here is one seat of it, sdar/Haggle-v0" in said.err and "after: success" in said.out + said.err
    type_lines(monkeypatch, "wait", "leave")
    assert main(["play", "sdar/Haggle-v0", "--as", "shopper_0", "--against", str(run)]) == 0
    assert "not won (terminated)" in capsys.readouterr().out


def test_options_for_a_seat_are_nothing_where_nothing_was_asked() -> None:
    assert seat_options("sdar/Household-v0", None, None) == {}
    assert seat_options("sdar/Pair-v0", "cook_0", "carrier") == {"role": "cook_0", "opponent": "carrier"}
    assert list(sdar_envs.GAMES) == ["sdar/haggle-v0", "sdar/pair-v0"]
