"""Games that draw from the global random stream, in an AEC environment that keeps them and their callers apart."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("pettingzoo")

from sdar_envs.multiagent.aec_role import AECRoleEnv
from sdar_envs.multiagent.textarena import TextArenaAEC
from sdar_envs.privileged import StudentView, split_info


class Dice:
    """A game of two in TextArena's form: it seeds the global stream, and draws from it at every turn.

    Whoever names a higher number than was thrown for it three times wins; what is no number loses at once.
    """

    def reset(self, num_players: int, seed: int | None = None) -> None:
        random.seed(seed)
        np.random.seed(seed)
        self.turns, self.ended, self.invalid = 0, False, None
        self.thrown = [random.randint(1, 6) for _ in range(num_players)]
        self.told: list[list[tuple[int, str, None]]] = [[(-1, f"you are {n}", None)] for n in range(num_players)]

    def get_observation(self):
        player = self.turns % 2
        told, self.told[player] = self.told[player], []  # reading forgets, as in some of their games
        return player, told

    def step(self, action: str):
        player = self.turns % 2
        self.turns += 1
        if not action.isdigit():
            self.ended, self.invalid = True, player
        for one in (0, 1):
            self.told[one].append(
                (player, f"{player} says {action}; {random.randint(1, 6)} {np.random.randint(9)}", None)
            )
        self.ended = self.ended or self.turns == 6
        return self.ended, {}

    def close(self):
        loser = self.invalid
        rewards = {0: 1, 1: -1} if loser is None else {loser: -1, 1 - loser: 1}
        return rewards, {n: {"invalid_move": n == loser} for n in (0, 1)}


def trace(env: TextArenaAEC, turns: int = 3) -> list[str]:
    seen = []
    for _ in range(turns):
        seen.append(str(env.last()[0]))
        env.step("3")
    return seen


def test_two_games_in_turns_are_the_same_two_one_after_the_other():
    alone = []
    for seed in (1, 2):
        env = TextArenaAEC(Dice)
        env.reset(seed=seed)
        alone.append(trace(env, 4))
    both = [TextArenaAEC(Dice), TextArenaAEC(Dice)]
    for seed, env in zip((1, 2), both, strict=True):
        env.reset(seed=seed)
    together: list[list[str]] = [[], []]
    for _ in range(4):
        for number, env in enumerate(both):
            together[number] += trace(env, 1)
    assert together == alone and alone[0] != alone[1]


def test_the_callers_streams_are_left_as_they_were():
    before = random.getstate(), np.random.get_state()[1].tolist()
    env = TextArenaAEC(Dice)
    env.reset(seed=5)
    trace(env, 6)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_a_game_that_raises_leaves_the_callers_stream_too():
    class Broken(Dice):
        def step(self, action: str):
            random.random()
            raise RuntimeError("out of dice")

    env = TextArenaAEC(Broken)
    env.reset(seed=0)
    before = random.getstate()
    with pytest.raises(RuntimeError, match="out of dice"):
        env.step("3")
    assert random.getstate() == before


def test_what_a_player_was_told_can_be_read_twice_though_the_game_forgets_it():
    env = TextArenaAEC(Dice)
    env.reset(seed=1)
    assert env.last()[0] == env.observe("player_0") == "you are 0"


def test_rewards_come_at_the_end_and_a_loss_by_an_invalid_move_is_told_apart():
    env = TextArenaAEC(Dice)
    env.reset(seed=1)
    env.step("3")
    env.step("no number")
    got = {}
    for agent in env.agent_iter():
        _, reward, ended, _, info = env.last()
        got[agent] = (reward, ended, info["invalid_move"])
        env.step(None)
    assert got == {"player_0": (1.0, True, False), "player_1": (-1.0, True, True)}


def test_a_privileged_side_is_what_its_author_reads_from_the_state():
    env = TextArenaAEC(Dice, privileged=lambda game, role: {"thrown": game.thrown[1 - int(role[-1])]})
    env.reset(seed=1)
    view, known = split_info(env.last()[0], env.last()[4])
    assert known is not None and known.reveal()["facts"] == {"thrown": env.game.thrown[1]}
    assert view.role == "player_0" and view.task_id == "1"


def test_one_seat_of_it_is_a_gymnasium_environment():
    class Three:
        def act(self, view: StudentView) -> str:
            assert view.role == "player_1"
            return "3"

    env = AECRoleEnv(lambda: TextArenaAEC(Dice), "player_0", {"player_1": Three()})
    observation, info = env.reset(seed=7)
    assert observation == "you are 0" and info["task_id"] == "7"
    rewards = [env.step("3")[1] for _ in range(3)]
    assert rewards == [0.0, 0.0, 1.0]


def test_hostile_text_is_one_cleaned_line_for_the_game():
    env = TextArenaAEC(Dice)
    env.reset(seed=1)
    env.step("3\n\x1b[2J" * 4_000)
    assert "\n" not in str(env.last()[0]).partition(" says ")[2]


def test_a_missing_textarena_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "textarena", None)
    with pytest.raises(ImportError, match=r"sdar-gym\[textarena\]"):
        TextArenaAEC("KuhnPoker-v0")


@pytest.mark.parametrize(
    "game", ["KuhnPoker-v0", "SimpleNegotiation-v0", "TicTacToe-v0", "IteratedPrisonersDilemma-v0"]
)
def test_their_games_pass_pettingzoos_tests_and_play_in_turns_as_they_play_alone(game: str):
    pytest.importorskip("textarena")
    from pettingzoo.test import api_test, seed_test

    with pytest.warns(UserWarning):
        api_test(TextArenaAEC(game), num_cycles=30)
    seed_test(lambda: TextArenaAEC(game), num_cycles=20)
    envs = [TextArenaAEC(game) for _ in range(4)]
    for env, seed in zip(envs, (3, 4, 3, 4), strict=True):
        env.reset(seed=seed)

    def turn(env: TextArenaAEC) -> str:
        text = str(env.last()[0])
        env.step(None if env.last()[2] else "[check]")
        return text

    alone = [[turn(env) for _ in range(3)] for env in envs[:2]]
    together = list(zip(*[(turn(envs[2]), turn(envs[3])) for _ in range(3)], strict=True))
    assert [list(texts) for texts in together] == alone
