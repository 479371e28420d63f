"""Scripted players by name: what `sdar eval --agent generic` plays in each world."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

import sdar_envs
from agents.base import Agent, Parse
from agents.baselines import ScriptedAgent
from sdar_envs.privileged import split_info
from sdar_envs.scripted_players import player_names, scripted_play

HABIT = {"size": "short", "instruction": "habit"}
KWARGS: dict[str, dict[str, Any]] = {
    "sdar/Household-v0": HABIT,
    "sdar/WebShop-v0": {"size": "small"},
    "sdar/SearchQA-v0": {"size": "small", "topk": 1, "passage_style": "plain"},
}


def agent(name: str, env_id: str, kwargs: dict[str, Any], seed: int = 0) -> ScriptedAgent:
    env = gym.make(env_id, **kwargs)
    play, reads_skills = scripted_play(name, env_id, env)
    return ScriptedAgent(play, reads_skills=reads_skills, seed=seed)


def play(player: Agent, env: gym.Env[Any, Any], task_id: str, *, slot: int = 0) -> tuple[list[str], bool]:
    """One episode: the actions, and whether it was won."""
    observation, info = env.reset(options={"task_id": task_id})
    actions: list[str] = []
    while True:
        view, privileged = split_info(observation, info, slot=slot, turn=len(actions))
        (action,) = player.act([view], [privileged])
        actions.append(action.text)
        observation, _, terminated, truncated, info = env.step(action.text)
        if terminated or truncated:
            return actions, info["success"]


def wins(name: str, env_id: str, tasks: int, **kwargs: Any) -> float:
    env = gym.make(env_id, split="valid", **kwargs)
    player = agent(name, env_id, kwargs)
    names = env.unwrapped.task_ids("valid")[:tasks]  # type: ignore[attr-defined]
    return sum(play(player, env, task_id)[1] for task_id in names) / tasks


@pytest.mark.parametrize("env_id", KWARGS)
def test_true_statements_are_worth_forty_points_to_a_well_informed_player(env_id: str) -> None:
    generic = wins("generic", env_id, 120, **KWARGS[env_id])
    told = wins("generic+skills", env_id, 120, **KWARGS[env_id])
    assert generic < 0.45
    assert told > generic + 0.4


def test_who_knows_houses_beats_who_knows_nothing_and_experience_beats_both() -> None:
    rates = [wins(name, "sdar/Household-v0", 120, size="small") for name in ("uninformed", "generic", "seen")]
    assert rates == sorted(rates) and rates[0] + 0.2 < rates[1] < rates[2] - 0.1


def test_every_player_that_a_world_names_plays_without_an_invalid_form_of_action() -> None:
    for env_id, kwargs in KWARGS.items():
        assert player_names(env_id), env_id
        env = gym.make(env_id, split="valid", **kwargs)
        for name in player_names(env_id):
            player = agent(name, env_id, kwargs)
            actions, _ = play(player, env, env.unwrapped.task_ids("valid")[1])  # type: ignore[attr-defined]
            assert actions and actions[0], name


@pytest.mark.parametrize("env_id", KWARGS)
def test_a_player_without_the_skills_acts_alike_with_and_without_privileged_information(env_id: str) -> None:
    task_id = gym.make(env_id, **KWARGS[env_id]).unwrapped.task_ids("valid")[3]  # type: ignore[attr-defined]
    acted = [
        play(
            agent("generic", env_id, KWARGS[env_id]),
            gym.make(env_id, split="valid", expose_privileged=exposed, **KWARGS[env_id]),
            task_id,
        )
        for exposed in (True, False)
    ]
    assert acted[0] == acted[1]


def test_episodes_in_several_slots_do_not_mix() -> None:
    env = gym.make("sdar/Household-v0", split="valid", **HABIT)
    tasks = env.unwrapped.task_ids("valid")[:4]  # type: ignore[attr-defined]
    alone = [play(agent("generic", "sdar/Household-v0", HABIT), env, task)[0] for task in tasks]
    player = agent("generic", "sdar/Household-v0", HABIT)
    envs = [gym.make("sdar/Household-v0", split="valid", **HABIT) for _ in tasks]
    states: dict[int, Any] = {n: one.reset(options={"task_id": tasks[n]}) for n, one in enumerate(envs)}
    acted: list[list[str]] = [[] for _ in tasks]
    while states:
        slots = list(states)
        views = [split_info(*states[n], slot=n, turn=len(acted[n]))[0] for n in slots]
        for n, action in zip(slots, player.act(views), strict=True):
            acted[n].append(action.text)
            observation, _, terminated, truncated, info = envs[n].step(action.text)
            states[n] = observation, info
            if terminated or truncated:
                del states[n]
    assert acted == alone


def test_another_seed_guesses_otherwise() -> None:
    env = gym.make("sdar/Household-v0", split="valid", size="full")
    task = env.unwrapped.task_ids("valid")[0]  # type: ignore[attr-defined]
    acted = {
        tuple(play(agent("uninformed", "sdar/Household-v0", {"size": "full"}, seed), env, task)[0]) for seed in range(4)
    }
    assert len(acted) > 1


def test_a_player_that_gives_up_says_nothing_and_the_episode_goes_on() -> None:
    view, _ = split_info("you see a shelf 1", {})
    player = ScriptedAgent(lambda view, statements, key: (action for action in ["look"]))
    assert player.act([view])[0].text == "look"
    later, _ = split_info("nothing", {}, turn=1)
    for _ in range(2):
        (action,) = player.act([later])
        assert action.text == "" and action.parse is Parse.EMPTY


def test_the_skills_must_be_there_for_a_player_that_reads_them() -> None:
    player = agent("generic+skills", "sdar/Household-v0", HABIT)
    assert player.reads_privileged
    view, nothing = split_info("you see", {})
    with pytest.raises(ValueError, match="expose_privileged=True"):
        player.act([view], [nothing])


def test_players_refuse_what_they_cannot_read_and_name_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unknown scripted player 'seen' for sdar/WebShop-v0: choose from generic"):
        agent("seen", "sdar/WebShop-v0", {})
    with pytest.raises(ValueError, match=r"passage_style='plain'"):
        agent("generic", "sdar/SearchQA-v0", {"size": "small"})
    assert player_names("sdar/ALFWorld-v0") == () and player_names("CartPole-v1") == ()


def test_names_of_players_are_the_same_wherever_they_mean_the_same() -> None:
    assert all("generic" in entry.players for entry in sdar_envs.WORLDS.values() if entry.demonstrator)
