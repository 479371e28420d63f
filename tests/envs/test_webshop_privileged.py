"""The privileged side of the store: shortest plans, facts and hints that follow events, skills and their worth."""

from __future__ import annotations

from typing import Any

import pytest
from privileged_twins import check_that_the_privileged_side_is_complete_and_costs_nothing

from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.regularities import regularities
from sdar_envs.webshop.shoppers import Shopper, read_request, read_results, shop
from sdar_envs.webshop.taxonomy import SIZES, taxonomy


def begin(env: WebShopEnv, task_id: str) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task_id": task_id})


def test_the_plan_is_the_shortest_from_wherever_one_strays():
    env = WebShopEnv(size="full", horizon=60)
    rng = counted_generator("test", "straying")
    for number in range(60):
        _, info = begin(env, f"train:{number:06d}")
        for _ in range(int(rng.integers(1, 12))):
            actions = [a for a in info["admissible_actions"] if "buy" not in a]
            action = actions[int(rng.integers(len(actions)))]
            if "<" in action:
                action = info["privileged"]["plan"][0] if rng.random() < 0.5 else "search[shirt]"
            before = len(info["privileged"]["plan"])
            info = env.step(action)[4]
            # One step can bring one at most one step nearer.
            assert len(info["privileged"]["plan"]) >= before - 1
        plan = info["privileged"]["plan"]
        for action in plan:
            assert info["privileged"]["plan"] == plan[-len(info["privileged"]["plan"]) :]
            info = env.step(action)[4]
        assert info["success"]


def test_the_plan_is_the_shortest_there_is():
    """Breadth-first search over all admissible actions and the plan's own searches, from a few strayed states."""
    env = WebShopEnv(size="small", horizon=100)
    for task_id, prefix in [
        ("train:000000", []),
        ("train:000001", ["click[back to search]"]),
        ("train:000002", ["{search}", "{first}", "click[features]"]),
        ("train:000003", ["{search}", "{first}"]),
        ("train:000004", ["{search}", "click[next >]", "click[next >]"]),
    ]:
        _, info = begin(env, task_id)
        search = info["privileged"]["plan"][0]
        script = []
        for step in prefix:
            actions = info["admissible_actions"]
            action = {"{search}": search, "{first}": actions[-1]}.get(step, step)
            script.append(action)
            info = env.step(action)[4]
        expected = len(info["privileged"]["plan"])
        assert shortest(env, task_id, script, search, expected) == expected


def shortest(env: WebShopEnv, task_id: str, prefix: list[str], search: str, limit: int) -> int:
    """How many more steps the shortest successful walk takes, by trying all of them."""
    seen: set[str] = set()
    edge: list[list[str]] = [[]]
    for depth in range(limit + 1):
        following = []
        for walk in edge:
            info = begin(env, task_id)[1]
            over = False
            for action in [*prefix, *walk]:
                _, _, over, _, info = env.step(action)
            if info["success"]:
                return depth
            state = f"{env.session.url('')} {sorted(env.session.chosen.items())}"
            if over or state in seen:
                continue
            seen.add(state)
            moves = [action for action in info["admissible_actions"] if "<query>" not in action]
            following += [[*walk, action] for action in [search, *moves]]
        edge = following
    return limit + 1


def test_facts_follow_what_happens():
    env = WebShopEnv(size="small")
    _, info = begin(env, "train:000004")
    facts = info["privileged"]["facts"]
    assert facts["target_rank"] == 0 and facts["shown"] == "" and facts["best_score_here"] == 0.0
    plan = info["privileged"]["plan"]
    facts = env.step(plan[0])[4]["privileged"]["facts"]
    assert 1 <= facts["target_rank"] <= 3
    facts = env.step(plan[1])[4]["privileged"]["facts"]
    assert facts["shown"] == facts["target"] and facts["missing_options"] == list(facts["options"].values())
    assert facts["score_if_bought_now"] == 0.8 and facts["best_score_here"] == 1.0 and facts["within_price"]
    facts = env.step(plan[2])[4]["privileged"]["facts"]
    assert facts["missing_options"] == [] and facts["score_if_bought_now"] == 1.0
    info = env.step(plan[3])[4]
    assert info["score"] == info["privileged"]["facts"]["score_if_bought_now"] == 1.0
    assert info["privileged"]["plan"] == [] and info["privileged"]["hints"] == ["Nothing is left to do."]


def test_what_buying_now_would_score_is_what_it_scores():
    env = WebShopEnv(size="full", horizon=30)
    rng = counted_generator("test", "buying")
    for number in range(40):
        _, info = begin(env, f"valid:{number:06d}")
        env.step(f"search[{read_request(info['instruction']).kind}]")
        info = env.step(f"click[{read_results(env._last_observation)[int(rng.integers(5))].asin.lower()}]")[4]
        for _ in range(int(rng.integers(4))):
            options = info["admissible_actions"][6:]
            info = env.step(options[int(rng.integers(len(options)))])[4]
        expected = info["privileged"]["facts"]["score_if_bought_now"]
        assert env.step("click[buy now]")[1] == expected <= info["privileged"]["facts"]["best_score_here"]


def test_hints_rise_from_what_is_wanted_to_the_next_action():
    env = WebShopEnv(size="full")
    _, info = begin(env, "train:000001")
    privileged = info["privileged"]
    wanted, search, target, following = privileged["hints"]
    assert privileged["facts"]["deciding_attribute"] in wanted
    assert privileged["facts"]["query"] in search
    assert privileged["facts"]["target"] in target
    assert following.endswith(privileged["next_action"])


def test_the_privileged_side_is_complete_and_costs_the_student_nothing():
    check_that_the_privileged_side_is_complete_and_costs_nothing(WebShopEnv, more_actions=["search[shirt]"])


def test_nothing_of_the_goal_is_on_a_page_before_the_purchase():
    """The target's id shows only where a search lists it, as any other product's does."""
    env = WebShopEnv(size="small", observation_mode="html")
    text, info = begin(env, "train:000001")
    facts = info["privileged"]["facts"]
    assert facts["target"] not in text
    info = env.step("search[vase]")[4]
    assert facts["target"] not in env._last_observation
    assert "regular" not in env._last_observation


# Skills.


def test_the_right_statements_are_retrieved_and_say_the_regularities():
    env = WebShopEnv(size="small")
    for number in range(14):
        _, info = begin(env, f"train:{number:06d}")
        skills, department = info["privileged"]["skills"], info["task_type"]
        assert info["skill_keys"][0] == department and info["skill_keys"][1] in info["instruction"]
        usual = regularities("small", 0).by_department[department]
        assert skills["compact_lines"] == [
            f"search by the {usual.cue}.",
            f"look in the {usual.page}.",
            f"the {usual.part} counts.",
            f"take the {usual.price}.",
        ]
        assert skills["claim_ids"] == [f"{field}:{department}" for field in ("cue", "page", "part", "price")]
        assert len(skills["task"].split()) > 140 and not any(skills["stale"])


def test_stale_statements_are_wrong_by_department_and_leave_the_store_alone():
    fresh, stale = WebShopEnv(size="small"), WebShopEnv(size="small", stale=0.3, stale_seed=3)
    wrong = stale.skill_bank.stale_keys()
    assert len(wrong) == 2 and set(wrong) < set(taxonomy().departments)
    for number in range(21):
        (text, info), (other, stale_info) = (begin(env, f"train:{number:06d}") for env in (fresh, stale))
        assert text == other
        lines, stale_lines = (i["privileged"]["skills"]["compact_lines"] for i in (info, stale_info))
        assert all(a != b for a, b in zip(lines, stale_lines, strict=True)) == (info["task_type"] in wrong)


@pytest.mark.parametrize("size", SIZES)
def test_knowing_the_statements_is_worth_a_lot_at_the_horizon(size: str):
    """The reason for the small store's horizon: who knows the regularities succeeds, who guesses seldom does."""
    env = WebShopEnv(size=size, split="valid")
    tasks = env.task_ids()[:140]
    wins = {"guessing": 0, "statements": 0}
    for task_id in tasks:
        statements = begin(env, task_id)[1]["privileged"]["skills"]["compact_lines"]
        wins["guessing"] += shop(env, task_id, Shopper((), ("test", task_id))) == 1.0
        wins["statements"] += shop(env, task_id, Shopper(statements, ("test", task_id))) == 1.0
    assert wins["statements"] > 0.8 * len(tasks) > 2 * wins["guessing"] > 0
