"""Haggle through Gymnasium and PettingZoo: their own checks, ours, and what is registered."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.multiagent.aec_role import AECRoleEnv
from sdar_envs.multiagent.haggle.demonstrator import SCRIPT
from sdar_envs.multiagent.haggle.env import HaggleEnv
from sdar_envs.multiagent.haggle.game import Haggle
from sdar_envs.multiagent.haggle.players import PLAYERS, Limiter, make_player
from sdar_envs.multiagent.haggle.tables import ROLES, SELLER, SHOPPER
from sdar_envs.multiagent.haggle.version import world_content, world_version
from sdar_envs.versioning import digest

ENV_ID = "sdar/Haggle-v0"
gym.register_envs(sdar_envs)

SEATS = [
    {"role": SHOPPER},
    {"role": SELLER, "talk": False},
    {"role": "both", "stale": 0.5, "retrieval": "wrong"},
    {"role": SHOPPER, "size": "full", "split": "test"},
    {"role": SELLER, "size": "full", "retrieval": "all", "regularity": 0.0, "world_seed": 3},
]


@pytest.mark.parametrize("kwargs", SEATS, ids=str)
def test_every_seat_passes_the_checker(kwargs: dict[str, object]):
    # The small game has so few goods and limits that its splits share tasks (docs/multiagent.md).
    skip = () if kwargs.get("size") == "full" else ("splits",)
    make = functools.partial(gym.make, ENV_ID, **kwargs)
    report = check_text_env(make, episodes=6, hostile_actions=500, sessions=6, split_tasks=20, skip=skip)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


@pytest.mark.parametrize("opponent", [name for name in PLAYERS if name != "limiter"])
def test_every_opponent_passes_all_checks_but_the_plans_which_is_for_the_limiter(opponent: str):
    make = functools.partial(gym.make, ENV_ID, role="both", opponent=opponent)
    check_text_env(make, episodes=4, hostile_actions=60, sessions=6, skip=("plan", "floor_gap", "splits"))


def test_unknown_roles_opponents_and_options_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown role 'shopper' .*nearest is \"shopper_0\""):
        gym.make(ENV_ID, role="shopper")
    with pytest.raises(ValueError, match="unknown player 'limitter'"):
        gym.make(ENV_ID, opponent="limitter")
    with pytest.raises(ValueError, match="expects an opponent for seller_0"):
        gym.make(ENV_ID, opponent={"buyer_0": "limiter"})
    with pytest.raises(ValueError, match="patience"):
        gym.make(ENV_ID, patience=-1)
    with pytest.raises(TypeError, match="colour"):
        gym.make(ENV_ID, colour="red")


def test_an_own_player_and_a_mapping_can_sit_in_the_other_seat():
    tasks = [f"train:{number:06d}" for number in range(6)]
    ends = []
    for opponent in ("limiter", Limiter(), {SELLER: "limiter"}):
        env = HaggleEnv(opponent=opponent)
        ends.append([env.reset(options={"task_id": task}) and env.step("offer 40") for task in tasks])
        assert set(env.opponents) == {SELLER}
    assert ends[0] == ends[1] == ends[2]


def test_with_both_roles_seats_come_in_turn_and_the_bank_has_the_statements_of_both():
    env = HaggleEnv(role="both")
    seats = [env.reset(options={"task_id": f"valid:{number:06d}"})[1]["role"] for number in range(4)]
    assert seats == [SHOPPER, SELLER, SHOPPER, SELLER]
    own = {role: [s.id for s in env.game.skill_bank(role).statements] for role in ROLES}
    assert [s.id for s in env.skill_bank.statements] == own[SHOPPER] + own[SELLER]
    stale = HaggleEnv(role="both", stale=0.5).skill_bank
    wrong = HaggleEnv(role=SELLER, stale=0.5).skill_bank.stale_keys()
    assert wrong and set(wrong) <= set(stale.stale_keys())


def test_demonstrations_with_the_statement_win_more_than_those_without():
    from sdar_envs.demonstrations import demonstrate

    won = {
        hinted: sum(
            demonstrate(SCRIPT, {"size": "small", "role": "both"}, key=(0, n), hinted=hinted).success
            for n in range(150)
        )
        for hinted in (True, False)
    }
    assert won[True] > 100 and 10 < won[False] < 70


def test_the_version_is_of_the_size_and_changes_with_the_rule_of_an_opponent(monkeypatch: pytest.MonkeyPatch):
    assert (
        HaggleEnv().world_version
        == Haggle().world_version
        == world_version(Haggle, "small")
        != world_version(Haggle, "full")
    )
    before = digest(world_content(Haggle, "small"))
    assert before == world_version(Haggle, "small")
    monkeypatch.setattr(Limiter, "_move", lambda self, seat, view: "wait")
    assert digest(world_content(Haggle, "small")) != before


# --- PettingZoo ---

# What PettingZoo 1.27 warns of in any game whose observations are text; nothing else may be said.
KNOWN_WARNINGS = {
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
    "Action space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
}


@pytest.fixture
def haggle_v0():
    pytest.importorskip("pettingzoo")
    from sdar_envs.multiagent import haggle_v0

    return haggle_v0


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("kind", ["env", "raw_env"])
def test_api_test_passes_with_exactly_the_known_warnings(haggle_v0, size: str, kind: str):
    from pettingzoo.test import api_test

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(getattr(haggle_v0, kind)(size=size), num_cycles=120)
    assert {str(warning.message) for warning in caught} == KNOWN_WARNINGS


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_other_tests_of_pettingzoo_pass_without_a_warning(haggle_v0, size: str, capsys: pytest.CaptureFixture):
    from pettingzoo.test import parallel_api_test, parallel_seed_test, render_test, seed_test

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seed_test(lambda: haggle_v0.env(size=size), num_cycles=60)
        parallel_api_test(haggle_v0.parallel_env(size=size), num_cycles=120)
        parallel_seed_test(lambda: haggle_v0.parallel_env(size=size), num_cycles=60)
        render_test(lambda render_mode=None: haggle_v0.env(size=size, render_mode=render_mode))
    assert "train:" in capsys.readouterr().out


def test_pettingzoo_makes_the_game_by_its_id(haggle_v0):
    import pettingzoo

    env = pettingzoo.make("aec", "sdar/haggle-v0", split="valid", max_cycles=3)
    env.reset(seed=4)
    observation, _, ended, truncated, info = env.last()
    assert observation.startswith("you are the ") and not ended and not truncated
    assert info["task_id"].startswith("valid:") and env.unwrapped.game.horizon == 3
    pair = pettingzoo.make("parallel", "sdar/haggle-v0", split="valid")
    assert set(pair.reset(seed=4)[0]) == set(ROLES)


def test_the_reward_of_the_silent_side_comes_with_its_last_turn(haggle_v0):
    env = haggle_v0.raw_env()
    env.reset(options={"task_id": next(t for t in env.task_ids("train") if env.game._bargain(t).opener == SHOPPER)})
    price = (env.game.bargain.floor + env.game.bargain.ceiling) // 20 * 10
    env.step(f"offer {price}")
    env.step("accept")
    got = {}
    for agent in env.agent_iter():
        observation, reward, ended, _, info = env.last()
        got[agent] = reward
        assert ended and observation == f"deal at {price}." and info["score"] == reward
        env.step(None)
    assert sum(got.values()) == pytest.approx(1.0) and not env.agents


def test_observations_are_the_same_with_the_privileged_side_off(haggle_v0):
    texts = []
    for expose in (True, False):
        env = haggle_v0.raw_env(expose_privileged=expose)
        env.reset(seed=3)
        seen = []
        for action in ("offer 60", "sing", "offer 70"):
            seen.append(env.last()[0])
            assert ("privileged" in env.last()[4]) is expose
            env.step(action)
        texts.append(seen)
    assert texts[0] == texts[1]


def test_a_copy_in_mid_game_keeps_the_game(haggle_v0):
    env = haggle_v0.env()
    env.reset(seed=2)
    env.step("offer 60")
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert twin.last() == env.last()
        twin.step("leave")
        assert twin.unwrapped.game.over and not env.unwrapped.game.over


def test_the_parallel_game_takes_the_action_of_the_active_role_and_no_other(haggle_v0):
    env = haggle_v0.parallel_env()
    env.reset(seed=0)
    active = env.active_agent
    (other,) = set(ROLES) - {active}
    with pytest.raises(KeyError, match=f"expected an action of {active}"):
        env.step({other: "wait"})
    observations, *_ = env.step({active: "wait", other: "leave"})
    assert env.agents and observations[other].endswith("says nothing.")
    env.step({other: "leave"})
    assert env.agents == [] and env.step({}) == ({}, {}, {}, {}, {})


def test_instances_do_not_share_their_metadata(haggle_v0):
    one, other = haggle_v0.raw_env(), haggle_v0.raw_env()
    one.metadata["render_modes"].append("x")
    assert other.metadata["render_modes"] == ["ansi", "human"]


def test_anyones_game_can_be_played_from_one_seat(haggle_v0):
    """Through the bridge for games of others, a seat of Haggle plays as it does through its own view."""
    bridge = AECRoleEnv(lambda: haggle_v0.raw_env(split="train"), SHOPPER, {SELLER: make_player("limiter")})
    own = HaggleEnv(role=SHOPPER)
    for seed in range(8):
        observation, info = bridge.reset(seed=seed)
        assert (observation, info) == own.reset(options={"task_id": info["task_id"]})
        for action in ("sing", "offer 30", "offer 40", "offer 50", "leave"):
            step = bridge.step(action)
            assert step == own.step(action)
            if step[2] or step[3]:
                break
    with pytest.raises(gym.error.ResetNeeded):
        bridge.step("wait")
    bridge.close()
    with pytest.raises(gym.error.ClosedEnvironmentError):
        bridge.step("wait")


def test_the_bridge_refuses_an_empty_seat_and_an_unknown_role(haggle_v0):
    with pytest.raises(ValueError, match="none for seller_0"):
        AECRoleEnv(haggle_v0.env, SHOPPER, {})
    with pytest.raises(ValueError, match="unknown role 'buyer'"):
        AECRoleEnv(haggle_v0.env, "buyer", {})


def test_a_seat_plays_where_pettingzoo_is_blocked():
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pettingzoo":
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import gymnasium as gym, sdar_envs
env = gym.make("sdar/Haggle-v0", role="seller_0")
_, info = env.reset(seed=0)
print(env.step(info["privileged"]["next_action"])[1])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1.0"
