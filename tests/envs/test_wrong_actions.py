"""The first wrong actions of an episode: by hand, by brute force, and in every world. Some 8 CPU-seconds."""

from __future__ import annotations

import itertools
from collections import deque
from importlib.util import find_spec
from typing import Any, cast

import gymnasium as gym
import household_search
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdar_envs  # noqa: F401  # registers the ids
from sdar_envs.core import TextEnv
from sdar_envs.household.engine import NativeGame
from sdar_envs.multiagent.pair.game import Pair
from sdar_envs.multiagent.pair.tables import COOK
from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.pages import PageKind
from sdar_envs.webshop.session import Session
from sdar_envs.webshop.store import Store
from sdar_envs.wrong_actions import NO_PLAN, UNKNOWN, Judged, WrongActions, by_plan_lengths, by_plans, by_scores

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "household": ("sdar/Household-v0", {"size": "small"}),
    "store": ("sdar/WebShop-v0", {"size": "small"}),
    "questions": ("sdar/SearchQA-v0", {"size": "small", "topk": 1, "passage_style": "plain"}),
    "long questions": ("sdar/SearchQA-v0", {}),
    "trip": ("sdar/Trip-v0", {"size": "small"}),
    "haggle": ("sdar/Haggle-v0", {}),
    "haggle, full": ("sdar/Haggle-v0", {"size": "full", "role": "seller_0"}),
    "runner": ("sdar/Pair-v0", {}),
    "cook": ("sdar/Pair-v0", {"role": "cook_0"}),
}
if find_spec("faiss") is None:
    WORLDS = {name: world for name, world in WORLDS.items() if "questions" not in name}


def made(world: str, **more: Any) -> TextEnv:
    env_id, kwargs = WORLDS[world]
    return cast(TextEnv, gym.make(env_id, disable_env_checker=True, **{**kwargs, **more}).unwrapped)


def play_at_random(env: TextEnv, task_id: str, *, sense: float = 0.5) -> list[str]:
    """Play a task to its end: the plan's action with probability `sense`, else anything that is listed."""
    rng = counted_generator("wrong actions", task_id)
    _, info = env.reset(options={"task_id": task_id})
    actions, over = [], False
    while not over:
        listed = info["admissible_actions"] or ["wait"]
        action = listed[int(rng.integers(len(listed)))]
        if rng.random() < sense:
            action = env.teacher_view()["next_action"] or action
        _, _, terminated, truncated, info = env.step(action)
        actions.append(action)
        over = terminated or truncated
    return actions


def test_an_action_that_does_not_shorten_the_plan_is_a_detour_and_one_too_many_a_loss() -> None:
    assert by_plan_lengths([3, 2, 1, 0], horizon=3) == WrongActions(-1, -1)
    assert by_plan_lengths([3, 2, 2, 1, 0], horizon=4) == WrongActions(1, -1)
    assert by_plan_lengths([3, 2, 2, 3, 2], horizon=4) == WrongActions(1, 2)
    assert by_plan_lengths([2, 1, NO_PLAN], horizon=9) == WrongActions(1, 1)
    assert by_plan_lengths([5, 4, 3], horizon=2) == WrongActions(-1, -1)  # it could not be won at any time
    assert by_plan_lengths([NO_PLAN, NO_PLAN], horizon=9) == WrongActions(-1, -1)
    assert by_plan_lengths([4], horizon=9) == WrongActions(-1, -1)


def test_a_role_whose_turns_the_plan_does_not_count_may_wait_and_may_not_hold_up() -> None:
    assert by_plans([Judged(4, 4, 5, cost=0), Judged(3, 4, 4, cost=0), Judged(3, 4, 3, cost=0)]) == WrongActions(1, 2)


def test_a_loss_is_where_less_can_be_reached_and_rounding_is_none() -> None:
    assert by_scores([1.0, 1.0, 0.9, 0.2]) == 1
    assert by_scores([0.3, 0.1 + 0.2, 0.3]) == -1 and by_scores([1.0]) == -1


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.integers(0, 6), st.integers(0, 8))
def test_nothing_is_lost_before_the_first_detour(changes: list[int], start: int, slack: int) -> None:
    lengths = list(itertools.accumulate(changes, lambda length, change: max(length + change, 0), initial=start))
    detour, loss = by_plan_lengths(lengths, horizon=start + slack)
    assert detour is not None and loss is not None
    if loss >= 0:
        assert 0 <= detour <= loss


@pytest.mark.parametrize("world", WORLDS)
def test_the_expert_makes_no_wrong_action(world: str) -> None:
    env = made(world, split="valid")
    for task_id in env.task_ids()[:25]:
        play_at_random(env, task_id, sense=1.0)
        assert set(env.wrong_actions()) <= {-1, None} and env.wrong_actions() != UNKNOWN


@pytest.mark.parametrize("world", WORLDS)
def test_nothing_is_said_before_the_end_and_saying_it_changes_nothing(world: str) -> None:
    env = made(world)
    with pytest.raises(gym.error.ResetNeeded):
        env.wrong_actions()
    _, info = env.reset(options={"task_id": env.task_ids()[3]})
    assert not [name for name in (*info, *info["privileged"], *info["privileged"]["facts"]) if "wrong" in name]
    with pytest.raises(RuntimeError, match="over"):
        env.wrong_actions()
    play_at_random(env, env.task_ids()[3])
    before = env.teacher_view(), env.steps, env._public()
    found = env.wrong_actions()
    assert (env.teacher_view(), env.steps, env._public()) == before and env.wrong_actions() == found
    env.close()
    with pytest.raises(gym.error.ResetNeeded):
        env.wrong_actions()


@pytest.mark.parametrize("world", WORLDS)
def test_a_copy_of_an_episode_says_the_same(world: str) -> None:
    import pickle

    env = made(world)
    for task_id in env.task_ids()[:4]:
        play_at_random(env, task_id)
        assert pickle.loads(pickle.dumps(env)).wrong_actions() == env.wrong_actions()


def distance(model: household_search.Model, game: NativeGame, most: int) -> float:
    """Commands to the goal by breadth-first search, `NO_PLAN` for more than `most`."""
    start = model.situation(game)
    within = (n for n in range(most + 1) if household_search.is_within(model, start, n, budget=200_000))
    return next(within, NO_PLAN)


def test_in_the_household_a_search_of_all_commands_finds_the_same() -> None:
    env = made("household", task_type="place")
    found = set()
    for number, task_id in enumerate(env.task_ids()[:9]):
        actions = play_at_random(env, task_id, sense=(0.2, 0.5, 0.8)[number % 3])
        told = env.wrong_actions()
        env.reset(options={"task_id": task_id})
        game = env._playing.game  # type: ignore[attr-defined]
        model = household_search.Model(game)
        lengths = [distance(model, game, 12)]
        for action in actions:
            game.step(action)
            lengths.append(distance(model, game, 12))
        assert NO_PLAN not in lengths
        assert by_plan_lengths(lengths, env.horizon) == told
        found.add(told)
    assert len(found) > 2


def clicks_to_purchase(session: Session, store: Store, query: str, target: str, most: int) -> float:
    """Actions to the purchase that scores 1, trying every click of every page and the planned search."""
    waiting = deque([(session, 0)])
    seen = set()
    while waiting:
        at, done = waiting.popleft()
        if at.kind is PageKind.DONE:
            if at.reward == 1.0:
                return done
            continue
        key = (at.kind, at.query, at.number, at.asin, at.sub_page, tuple(sorted(at.chosen.items())))
        if key in seen or done >= most or at.number > 3 or (at.asin and at.asin != target and done > most - 4):
            continue
        seen.add(key)
        for action in (f"search[{query}]", *at.page.click_actions):
            then = at.as_it_is()
            then.visited = set(at.visited)
            then.act(action)
            waiting.append((then, done + 1))
    return NO_PLAN


def test_in_the_store_a_search_of_all_clicks_finds_the_same() -> None:
    env = made("store")
    checked = 0
    for task_id in env.task_ids()[:4]:
        play_at_random(env, task_id, sense=0.6)
        task = env._playing.task  # type: ignore[attr-defined]
        walk = [env._new_session(task), *env._playing.walk]  # type: ignore[attr-defined]

        def worth(asin: str, chosen: dict[str, str], task: Any = task) -> float:
            return float(task.store.judge(asin, chosen, task.goal).reward)

        told = env.wrong_actions()
        lengths = []
        for session in walk:
            session.worth = worth
            if session.reward is not None:
                lengths.append(0 if session.reward == 1.0 else NO_PLAN)
                continue
            lengths.append(clicks_to_purchase(session, task.store, task.errand.query, task.errand.target, 7))
        assert by_plan_lengths(lengths, env.horizon) == told
        checked += len(lengths)
    assert checked > 10


def test_a_right_answer_is_no_detour_whatever_was_shown_and_a_search_for_nothing_is_one() -> None:
    if "questions" not in WORLDS:
        pytest.skip("faiss is not installed")
    env = made("questions")
    _, info = env.reset(options={"task_id": env.task_ids()[0]})
    gold = info["privileged"]["facts"]["answers"][0]
    env.step(f"<answer>{gold}</answer>")
    assert env.wrong_actions() == WrongActions(-1, -1)
    env.reset(options={"task_id": env.task_ids()[0]})
    env.step("<search>nothing of the kind</search>")
    env.step("no action")
    env.step("<answer>nobody</answer>")
    assert env.wrong_actions() == WrongActions(0, 2)  # two turns are enough, so two could be spared


def test_in_a_bargain_nothing_that_is_tried_gets_more_than_what_can_be_reached() -> None:
    env = made("haggle")
    for task_id in env.task_ids()[:3]:
        played = play_at_random(env, task_id, sense=0.3)
        told, reached = env.wrong_actions(), list(env._reachable)  # type: ignore[attr-defined]
        for done in range(len(played)):
            best = 0.0
            for further in itertools.product(offers_and_acceptance(env, task_id, played[:done]), repeat=2):
                best = max(best, score_of(env, task_id, [*played[:done], *further]))
            assert best == pytest.approx(reached[done])
        assert told.loss == by_scores(reached)


def offers_and_acceptance(env: TextEnv, task_id: str, prefix: list[str]) -> list[str]:
    _, info = env.reset(options={"task_id": task_id})
    for action in prefix:
        info = env.step(action)[-1]
    return [action for action in info["admissible_actions"] if action != "leave"]


def score_of(env: TextEnv, task_id: str, actions: list[str]) -> float:
    _, info = env.reset(options={"task_id": task_id})
    for action in actions:
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break
    return float(info["score"])


def test_other_opponents_than_the_usual_one_leave_it_open_what_can_be_reached() -> None:
    env = made("haggle", opponent="honest")
    play_at_random(env, env.task_ids()[0])
    assert env.wrong_actions() == UNKNOWN


@pytest.mark.parametrize("world", ["runner", "cook"])
def test_in_a_shared_house_the_joint_plan_before_and_after_says_the_same(world: str) -> None:
    env = made(world)
    found = set()
    for task_id in env.task_ids()[:8]:
        play_at_random(env, task_id, sense=0.8)
        told, log = env.wrong_actions(), env.game.log  # type: ignore[attr-defined]
        game, role = Pair(), env.seat  # type: ignore[attr-defined]
        game.begin(task_id)
        judged = []
        for actor, text in log:
            plan = game.joint_plan()
            before = NO_PLAN if plan is None else plan.turns
            game.act(actor, text)
            if actor == role:
                then = None if game.won else game.joint_plan()
                after = 0 if game.won else NO_PLAN if then is None else then.turns
                judged.append(Judged(before, after, game.horizon - game.turns_taken[COOK], int(role == COOK)))
        assert by_plans(judged) == told
        found.add(told)
    assert len(found) > 2


@pytest.mark.skipif(find_spec("textworld") is None, reason="TextWorld is not installed")
def test_in_textworld_going_back_is_a_detour(tmp_path: Any) -> None:
    env = gym.make("sdar/TextWorld-v0", file_format="json", train_games=1, held_out_games=1, cache_dir=str(tmp_path))
    _, info = env.reset(options={"task_id": env.unwrapped.task_ids()[0]})  # type: ignore[attr-defined]
    plan = info["privileged"]["plan"]
    for action in ("look", *plan):
        env.step(action)
    assert env.unwrapped.wrong_actions() == WrongActions(0, -1)  # type: ignore[attr-defined]
