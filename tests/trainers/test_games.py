"""Games of several roles: who is asked what, what a seat earns, and what a broken game costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import pytest

from agents.base import Action, StopReason
from sdar_envs.multiagent.role import RoleEnv
from sdar_envs.privileged import Privileged, StudentView
from trainers.config import SDARConfig
from trainers.evaluation.crossplay import cross_play
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.dynamic_sampling import flat_groups
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.games import GamePlan, ScriptedSeats, collect_games
from trainers.rollout.seats import Seats, chosen_roles
from trainers.run.summary import game_metrics

SHOPPER, SELLER = ROLES = ("shopper_0", "seller_0")


def seat() -> RoleEnv:
    env = gym.make("sdar/Haggle-v0", role="both", split="valid").unwrapped
    assert isinstance(env, RoleEnv)
    return env


class Rule:
    """A learner without a model: plays as a script, keeps what it was shown, and may ask for more than its own view."""

    def __init__(self, script: str = "greedy", *, reads: bool = False) -> None:
        self.reads_privileged = reads
        self.script = script
        self.views: list[StudentView] = []
        self.known: list[Privileged | None] = []
        self.batches: list[int] = []
        self.released: list[int] = []
        self._env = seat()
        self._players: dict[int, Any] = {}

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        self.views += views
        self.known += list(privileged or ())
        self.batches.append(len(views))
        actions = []
        for view in views:
            if view.turn == 0:
                self._players[view.slot] = self._env.seat_player(self.script, view.role)
            text = self._players[view.slot].act(view)
            actions.append(Action(text, text))
        return actions

    def release(self, slots: Sequence[int]) -> None:
        self.released += slots


def draws(tasks: int, members: int = 1) -> list[TaskDraw]:
    return [
        TaskDraw(f"valid:{task:06d}", ("train", 0, 3, task, member), task, member)
        for task in range(tasks)
        for member in range(members)
    ]


def played(
    agent: Any, tasks: Sequence[TaskDraw], *, together: int = 8, other: Any = None, plan: GamePlan | None = None
) -> list[Rollout]:
    seated = {SHOPPER: agent, SELLER: other or agent}
    return collect_games([seat().game for _ in range(together)], tasks, lambda _: seated, plan or GamePlan(ROLES))


def story(rollouts: Sequence[Rollout]) -> list[Any]:
    def turns(rollout: Rollout) -> list[Any]:
        return [(turn.view.observation, turn.action.text, turn.reward) for turn in rollout.episode.turns]

    return [(r.episode.role, r.task, r.episode.stop_reason, turns(r)) for r in rollouts]


def test_both_seats_of_a_game_are_episodes_of_their_own_and_their_groups_never_meet() -> None:
    rollouts = played(Rule(), draws(5, members=3))
    groups = {(r.task.group, r.episode.role) for r in rollouts}
    assert len(groups) == len({group for group, _ in groups}) == 10
    assert {role for _, role in groups} == set(ROLES)
    assert [r.task.group for r in rollouts] == sorted(r.task.group for r in rollouts)
    assert all(r.episode.draw[-1] == r.episode.role for r in rollouts)
    assert len({r.episode.draw for r in rollouts}) == len(rollouts)  # no two seats share their draws
    games = {r.episode.game for r in rollouts}
    assert games == set(range(15))


def test_a_seat_earns_what_its_game_gave_it_whoever_ended_the_game() -> None:
    rollouts = played(Rule("honest"), draws(40), other=Rule("greedy"))
    game = seat().game
    for task in draws(40):
        own = {r.episode.role: r.episode for r in rollouts if r.episode.task_id == task.task_id}
        texts = {role: iter([turn.action.text for turn in episode.turns]) for role, episode in own.items()}
        game.begin(task.task_id)
        total = dict.fromkeys(ROLES, 0.0)
        while not game.over:
            game.act(game.turn, next(texts[game.turn]))
            for role, reward in game.rewards.items():
                total[role] += reward
        assert {role: episode.return_ for role, episode in own.items()} == pytest.approx(total)
        for episode in own.values():  # it all comes at the last turn of each
            assert [turn.reward for turn in episode.turns[:-1]] == [0.0] * (len(episode.turns) - 1)
    assert any(r.episode.return_ > 0 for r in rollouts)


def test_what_is_played_does_not_depend_on_how_many_games_are_played_at_once() -> None:
    expected = story(played(Rule(), draws(20), together=20))
    for together in (1, 3, 7):
        assert story(played(Rule(), draws(20), together=together)) == expected


def test_the_seats_whose_turn_it_is_act_together_and_are_forgotten_at_the_end() -> None:
    agent = Rule()
    played(agent, draws(12), together=12)
    assert agent.batches[0] == 12
    assert set(agent.released) == set(range(24))
    assert {view.role for view in agent.views} == set(ROLES)


class Leaves:
    """A script that ends the game at once."""

    def act(self, view: StudentView) -> str:
        return "leave"


def test_a_seat_that_never_acted_gives_no_episode() -> None:
    rollouts = played(Rule(), draws(30), other=ScriptedSeats("leaves", Leaves), plan=GamePlan(ROLES))
    shoppers = [r for r in rollouts if r.episode.role == SHOPPER]
    assert 0 < len(shoppers) < 30  # where the seller opens, the shopper never speaks
    assert all(r.episode.turns for r in rollouts)


class Raises:
    """A script that breaks in some games."""

    def act(self, view: StudentView) -> str:
        if view.task_id == "valid:000002":
            raise RuntimeError("the other's limit is 30")
        return "leave" if view.turn else "wait"


def test_a_script_that_raises_fails_every_seat_of_its_game_and_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    rollouts = played(Rule(), draws(6), other=ScriptedSeats("raises", Raises))
    failed = [r for r in rollouts if r.episode.failed]
    assert {r.episode.task_id for r in failed} == {"valid:000002"} and {r.episode.role for r in failed} == set(ROLES)
    assert all(r.failure and "RuntimeError" in r.failure and "limit" not in r.failure for r in failed)
    others = [r for r in rollouts if r.episode.task_id != "valid:000002"]
    alone = played(Rule(), [d for d in draws(6) if d.task_id != "valid:000002"], other=ScriptedSeats("raises", Raises))
    assert [s[3] for s in story(others)] == [s[3] for s in story(alone)]
    assert "the other's limit" in capsys.readouterr().err  # its words go to the screen once, and into no log


def test_a_task_that_cannot_begin_fails_its_own_game() -> None:
    rollouts = played(Rule(), [*draws(2), TaskDraw("valid:nothing", ("train", 0, 3, 9, 0), 9, 0)])
    assert {r.episode.task_id for r in rollouts if r.episode.failed} == {"valid:nothing"}


def test_turns_are_counted_per_seat() -> None:
    rollouts = played(Rule("greedy"), draws(12), plan=GamePlan(ROLES, max_turns=1))
    assert all(len(r.episode.turns) <= 1 for r in rollouts)
    assert {r.episode.stop_reason for r in rollouts} >= {StopReason.HORIZON}


# What each side may read.


def test_no_seat_is_told_what_another_knows() -> None:
    agent = Rule()
    rollouts = played(agent, draws(10), plan=GamePlan(ROLES, "every"))
    assert agent.known == []  # the learner reads nothing privileged
    for rollout in rollouts:
        known = rollout.privileged[0]
        assert known is not None and rollout.episode.turns[0].view.role == rollout.episode.role
        facts = known.reveal()["facts"]
        assert facts["other_role"] in ROLES and facts["other_role"] != rollout.episode.role


@pytest.mark.parametrize(("turns", "expected"), [("never", 0), ("first", 1), ("every", 2)])
def test_privileged_information_is_asked_for_where_it_is_read(
    turns: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    games = [seat().game]
    kind = type(games[0])
    real = kind.privileged
    monkeypatch.setattr(kind, "privileged", lambda self, role: asked.append(role) or real(self, role))
    agent = Rule("ladder")
    rollouts = collect_games(games, draws(3), lambda _: dict.fromkeys(ROLES, agent), GamePlan(ROLES, turns))
    seats, acts = len(rollouts), sum(len(r.episode.turns) for r in rollouts)
    assert acts > seats
    assert len(asked) == (0, seats, acts)[expected]
    sealed = [known is not None for r in rollouts for known in r.privileged]
    assert all(sealed) if expected else not any(sealed)


# Who sits where.


def seats(**options: Any) -> Seats:
    source = EnvironmentSource("sdar/Haggle-v0", {"role": "both"})
    return Seats.of(source, Rule(), SDARConfig(**options), {})


def test_an_opponent_is_drawn_once_per_group() -> None:
    made = seats(roles=[SHOPPER], opponents=["limiter", "greedy", "honest", "random"])
    scripted: dict[tuple[str, str], ScriptedSeats] = {}
    names = {(d.group, d.member): made.seating(scripted, d)[SELLER].name for d in draws(40, members=4)}  # type: ignore[union-attr]
    for group in range(40):
        assert len({names[group, member] for member in range(4)}) == 1
    assert set(names.values()) == {"limiter", "greedy", "honest", "random"}


def test_roles_are_chosen_by_name() -> None:
    assert chosen_roles(["both"], ROLES, "here") == ROLES
    assert chosen_roles([SELLER], ROLES, "here") == (SELLER,)
    assert chosen_roles([SELLER, SHOPPER], ROLES, "here") == ROLES
    with pytest.raises(ValueError, match="unknown role 'buyer_0'"):
        chosen_roles(["buyer_0"], ROLES, "here")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"roles": ["both"], "privilege": "plan"}, "in self-play the opponent learns"),
        ({"roles": ["both"], "privilege": "skill+next_action"}, "in self-play the opponent learns"),
        ({"roles": [SHOPPER], "teach_roles": [SELLER]}, "teach_roles: expected roles that learn"),
        ({"roles": [SHOPPER], "opponents": ["nobody"]}, "nobody"),
        ({"roles": ["nobody_0"]}, "unknown role"),
    ],
)
def test_seats_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        seats(**options)


def test_best_actions_may_be_told_against_an_opponent_that_does_not_learn() -> None:
    assert seats(roles=[SHOPPER], privilege="plan").learned == (SHOPPER,)


def test_roles_are_for_games_alone() -> None:
    with pytest.raises(ValueError, match="sdar/Household-v0 is none"):
        Seats.of(EnvironmentSource("sdar/Household-v0", {}), Rule(), SDARConfig(roles=["both"]), {})


# Numbers.


def test_a_task_is_played_again_only_where_no_seat_can_learn_from_it() -> None:
    rollouts = played(Rule(), draws(3, members=2))
    by_group: dict[int, list[Rollout]] = {}
    for rollout in rollouts:
        by_group.setdefault(rollout.task.group, []).append(rollout)
    # Rules play alike, so that every group is flat; one return is moved in one seat of the second task.
    assert flat_groups(rollouts, 2) == [0, 1, 2]
    by_group[3][0].episode.turns[-1].reward += 0.5
    assert flat_groups(rollouts, 2) == [0, 2]
    assert flat_groups(rollouts) == [0, 1, 2, 4, 5]


def test_metrics_are_told_by_role_and_by_game() -> None:
    episodes = [r.episode for r in played(Rule("honest"), draws(30), other=Rule("limiter"))]
    found = game_metrics(episodes)
    per_role = {role: [e.return_ for e in episodes if e.role == role] for role in ROLES}
    for role, values in per_role.items():
        assert found[f"return/{role}"] == pytest.approx(sum(values) / len(values))
    assert found["joint"] == pytest.approx(sum(map(sum, per_role.values())) / 30)
    assert 0.0 < found["deals"] <= 1.0
    assert game_metrics([]) == {}


# Cross-play.


def matrix(names: Sequence[str], tasks: int = 40, **options: Any) -> Any:
    env = seat()
    players = {name: partial(_scripted, env, name) for name in names}
    ids = list(env.task_ids("valid"))[:tasks]
    return cross_play([seat().game for _ in range(8)], players, ids, **options)


def _scripted(env: RoleEnv, name: str, role: str) -> ScriptedSeats:
    return ScriptedSeats(name, lambda: env.seat_player(name, role))


def test_every_pair_plays_every_task_in_both_seats() -> None:
    seen: list[tuple[int, int]] = []
    found = matrix(["limiter", "honest"], advance=lambda done, total: seen.append((done, total)))
    assert set(found.cells) == {(a, b) for a in ("limiter", "honest") for b in ("limiter", "honest")}
    assert all(cell.games == 40 and cell.failed == 0 for cell in found.cells.values())
    assert seen[-1] == (160, 160) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    # Who tells its limit to one that takes whatever it can keeps nothing.
    assert found.payoff(SHOPPER, "honest", "limiter") == 0.0
    assert found.payoff(SELLER, "limiter", "honest") == 1.0


def test_regret_and_exploitability_are_those_of_the_matrix() -> None:
    found = matrix(["limiter", "honest", "greedy"])
    for role in ROLES:
        for player in found.players:
            by_hand = [
                max(found.payoff(role, who, other) for who in found.players) - found.payoff(role, player, other)
                for other in found.players
            ]
            assert found.regret(role, player) == pytest.approx(sum(by_hand) / 3)
    gain = sum(
        max(found.payoff(role, who, "limiter") for who in found.players) - found.payoff(role, "limiter", "limiter")
        for role in ROLES
    )
    assert found.exploitability("limiter") == pytest.approx(gain) and gain > 0
    assert matrix(["greedy"]).exploitability("greedy") == 0.0


def test_differences_are_paired_by_task() -> None:
    found = matrix(["limiter", "honest", "greedy"])
    mean, (low, high) = found.difference(SHOPPER, "greedy", "honest", ["limiter", "greedy"])
    by_hand = [found.payoff(SHOPPER, "greedy", o) - found.payoff(SHOPPER, "honest", o) for o in ("limiter", "greedy")]
    assert mean == pytest.approx(sum(by_hand) / 2) and low < mean < high


def test_the_hash_names_players_tasks_and_seed() -> None:
    base = matrix(["honest"], 4).hash
    assert base == matrix(["honest"], 4).hash
    others = [
        matrix(["greedy"], 4).hash,
        matrix(["honest"], 5).hash,
        matrix(["honest"], 4, seed=1).hash,
        matrix(["honest"], 4, identities={"honest": "weights"}).hash,
        matrix(["honest"], 4, settings={"size": "full"}).hash,
    ]
    assert len({base, *others}) == 6
