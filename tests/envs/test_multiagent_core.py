"""The contract of games: turns, views of one role, seats with players in the others, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import ClassVar

import gymnasium as gym
import pytest
from toy_game import ROLES, Raises, Repeats, Toy

from sdar_envs.hostile import hostile_actions
from sdar_envs.multiagent.game import GameOverError
from sdar_envs.multiagent.player import Player, PlayerError
from sdar_envs.multiagent.playing import play_game, play_seat
from sdar_envs.multiagent.role import RoleEnv
from sdar_envs.privileged import StudentView

TASK = "train:000003"


def begun(**kwargs: object) -> Toy:
    game = Toy(**kwargs)
    game.begin(TASK)
    return game


class ToyEnv(RoleEnv):
    env_id: ClassVar[str] = "toy/Toy-v0"

    def __init__(
        self, *, role: str = "bob_0", opponent: object = None, expose_privileged: bool = True, **kwargs: object
    ):
        opponent = Repeats("pay 1") if opponent is None else opponent
        super().__init__(Toy(**kwargs), role=role, opponent=opponent, expose_privileged=expose_privileged)

    def _make_player(self, name: str, role: str) -> Player:
        return {"one": Repeats("pay 1"), "raises": Raises()}[name]


# --- games ---


def test_roles_act_in_turns_from_the_opener_on():
    game = begun(opener="bob_0")
    order = []
    while not game.over:
        order.append(game.turn)
        game.act(game.turn, "pay 1")
    assert order == ["bob_0", "cem_0", "ann_0"] * 3
    assert game.truncated and set(game.turns_taken.values()) == {3}


def test_observing_changes_nothing_and_shows_what_is_new_since_the_own_last_turn():
    game = begun()
    assert game.observe("ann_0") == game.observe("ann_0") == "you are ann_0, and your secret is train30."
    game.act("ann_0", "pay 7")
    assert game.observe("ann_0") == ""
    assert game.observe("bob_0").endswith("ann_0 pays you 7.") and "ann_0 pays" not in game.observe("cem_0")


def test_rewards_are_those_of_the_last_act_alone():
    game = begun()
    game.act("ann_0", "pay 5")
    assert game.rewards == {"ann_0": 0.0, "bob_0": 5.0, "cem_0": 0.0}
    game.act("bob_0", "nothing that is known")
    assert game.rewards == dict.fromkeys(ROLES, 0.0)


def test_text_that_is_not_understood_costs_the_turn_and_never_raises():
    game = begun(horizon=400)
    for text in hostile_actions(600, legal=("pay 1", "pay 2")):
        role = game.turn
        assert game.act(role, text) is False and game.turn != role
        assert game.info(role)["is_action_valid"] is False
        assert all(said == said.encode("utf-8").decode() and "\n" not in said for _, said in game.log[-1:])


def test_a_wrong_role_a_foreign_turn_and_a_finished_game_are_refused_by_name():
    game = begun()
    for refused in (game.observe, game.public, game.privileged, game.skill_bank):
        with pytest.raises(ValueError, match=r"unknown role 'eve_0' for .*toy.*ann_0"):
            refused("eve_0")
    with pytest.raises(ValueError, match="expects an action of ann_0, whose turn it is, got one of cem_0"):
        game.act("cem_0", "pay 1")
    with pytest.raises(TypeError, match="expected to be a str"):
        game.act("ann_0", 3)  # type: ignore[arg-type]
    game.act("ann_0", "end")
    with pytest.raises(GameOverError, match=r"begin\(\) before act\(\)"):
        game.act("bob_0", "pay 1")
    with pytest.raises(GameOverError):
        Toy().act("ann_0", "pay 1")
    with pytest.raises(ValueError, match="train:000123"):
        game.begin("train:000999")
    with pytest.raises(ValueError, match="horizon"):
        Toy(horizon=0)


def test_a_view_holds_what_its_own_role_may_read_and_no_more():
    game = begun()
    for role in ROLES:
        view = game.view(role, slot=4, draw=("a", 1))
        shown = json.dumps(dataclasses.asdict(view))
        assert (view.role, view.slot, view.draw, view.turn) == (role, 4, ("a", 1), 0)
        assert game.secrets[role] in shown
        for other in ROLES:
            if other != role:
                assert game.secrets[other] not in shown
                assert game.secrets[other] in json.dumps(game.privileged(role)["facts"])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda game: pickle.loads(pickle.dumps(game))])
@pytest.mark.parametrize("rebuilt", [frozenset(), frozenset({"secrets"})])
def test_a_copy_in_mid_game_keeps_the_game_and_is_a_game_of_its_own(again, rebuilt, monkeypatch):
    monkeypatch.setattr(Toy, "rebuilt", rebuilt)
    monkeypatch.setattr(Toy, "secrets", dict.fromkeys(ROLES, ""), raising=False)
    game = begun()
    game.act("ann_0", "pay 2")
    twin = again(game)
    assert (twin.turn, twin.log, twin.secrets, twin.rewards) == (game.turn, game.log, game.secrets, game.rewards)
    assert [twin.observe(role) for role in ROLES] == [game.observe(role) for role in ROLES]
    twin.act("bob_0", "end")
    assert twin.over and not game.over and game.turns_taken["bob_0"] == 0


def test_two_games_played_in_turns_are_the_same_two_played_one_after_the_other():
    texts = ["pay 1", "no", "pay 3", "pay 2", "end"]

    def trace(games: list[Toy]) -> list[list[object]]:
        seen: list[list[object]] = [[] for _ in games]
        for text in texts:
            for number, game in enumerate(games):
                role = game.turn
                seen[number].append([game.observe(role), game.act(role, text), game.info(role, expose_privileged=True)])
        return seen

    both = [Toy(), Toy(opener="cem_0")]
    for number, game in enumerate(both):
        game.begin(f"train:00000{number}")
    together = trace(both)
    for number, game in enumerate(both):
        game.begin(f"train:00000{number}")
        assert trace([game]) == [together[number]]


# --- players ---


def test_a_whole_game_returns_what_every_role_got():
    players = {"ann_0": Repeats("pay 2"), "bob_0": Repeats("pay 3", "end"), "cem_0": Repeats("pay 4")}
    assert play_game(Toy(), TASK, players) == {"ann_0": 5.0, "bob_0": 5.0, "cem_0": 4.0}
    assert [view.role for view in players["bob_0"].views] == ["bob_0", "bob_0"]


def test_a_seat_without_a_player_is_named():
    with pytest.raises(ValueError, match="none for bob_0, cem_0"):
        play_game(Toy(), TASK, {"ann_0": Repeats("end")})


@pytest.mark.parametrize(("player", "said"), [(Raises(), "lost my notes"), (Repeats(None), "got NoneType")])
def test_a_player_that_breaks_is_one_error_that_names_it(player: Player, said: str):
    game = begun()
    with pytest.raises(PlayerError, match=rf"'sly' of ann_0 in toy/toy-v0, task {TASK}.*{said}"):
        play_seat(player, game, name="sly")
    assert game.turn == "ann_0" and game.log == []


# --- a seat ---


def test_the_others_move_inside_reset_and_step_and_what_they_give_is_added_up():
    other = Repeats("pay 2")
    env = ToyEnv(opponent=other)
    observation, info = env.reset(options={"task_id": TASK})
    assert observation == "you are bob_0, and your secret is train31. ann_0 pays you 2."
    assert info["role"] == "bob_0" and info["privileged"]["facts"] == {"ann_0": "train30", "cem_0": "train32"}
    observation, reward, ended, truncated, info = env.step("pay 9")
    assert (observation, reward, ended, truncated) == ("ann_0 pays you 2.", 2.0, False, False)
    *_, reward, ended, truncated, info = env.step("end")
    assert (reward, ended, truncated, info["success"]) == (1.0, True, False, True)
    assert all("train31" not in json.dumps(dataclasses.asdict(view)) for view in other.views)


def test_a_seat_is_truncated_exactly_at_its_horizon():
    for role in ROLES:
        env = ToyEnv(role=role, horizon=4)
        env.reset(options={"task_id": TASK})
        ends = [env.step("mumble")[2:4] for _ in range(4)]
        assert ends == [(False, False)] * 3 + [(False, True)]


def test_a_seat_whose_game_is_over_before_its_first_turn_ends_at_its_first_step():
    env = ToyEnv(opponent=Repeats("end"))
    _, info = env.reset(options={"task_id": TASK})
    assert info["admissible_actions"] == [] and info["is_action_valid"]
    _, reward, ended, truncated, info = env.step("pay 1")
    assert (ended, truncated, info["is_action_valid"]) == (True, False, False) and reward == 0.0
    assert env.game.turns_taken["bob_0"] == 0


def test_the_seat_changes_with_the_task_and_any_player_can_sit_in_any_other():
    env = ToyEnv(role="both")
    seats = [env.reset(options={"task_id": f"train:00000{number}"})[1]["role"] for number in range(6)]
    assert seats == [*ROLES, *ROLES] and set(env.opponents) == set(ROLES)


def test_two_roles_that_share_one_environment_have_both_banks():
    env = ToyEnv(role="both")
    assert env.skill_bank.general == "how to play ann_0" and env.skill_bank.statements == ()
    assert ToyEnv(role="cem_0").skill_bank.general == "how to play cem_0"


def test_an_opponent_that_breaks_breaks_its_episode_by_name():
    env = ToyEnv(role="ann_0", opponent={"bob_0": "one", "cem_0": "raises"})
    env.reset(options={"task_id": TASK})
    with pytest.raises(PlayerError, match="'raises' of cem_0"):
        env.step("pay 1")


def test_unknown_roles_and_missing_opponents_are_refused():
    with pytest.raises(ValueError, match=r"unknown role 'ann' for toy/Toy-v0.*ann_0, bob_0, cem_0, both.*nearest"):
        ToyEnv(role="ann")
    with pytest.raises(ValueError, match="expects an opponent for cem_0"):
        ToyEnv(role="ann_0", opponent={"bob_0": "one"})
    with pytest.raises(gym.error.ResetNeeded):
        ToyEnv().step("pay 1")


def test_a_seat_pickles_in_mid_episode():
    env = ToyEnv(role="ann_0", opponent="one")
    env.reset(options={"task_id": TASK})
    env.step("pay 4")
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step("pay 1") == env.step("pay 1")


def test_views_of_worlds_with_one_role_name_none():
    assert StudentView("a room").role == ""
