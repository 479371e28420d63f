"""Statements that were followed or not: by hand, and by the plan, which follows what is true. Some 3 CPU-seconds."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import gymnasium as gym
import pytest

import sdar_envs  # noqa: F401  # registers the ids
from sdar_envs.core import TextEnv
from sdar_envs.statement_decisions import Decision, Played, decision_of

# Worlds whose plan does what a statement says exactly where the statement is true.
PLANNED: dict[str, dict[str, Any]] = {
    "sdar/Household-v0": {"size": "small"},
    "sdar/WebShop-v0": {"size": "small"},
    "sdar/SearchQA-v0": {"size": "small", "topk": 1, "passage_style": "plain"},
    "sdar/Haggle-v0": {},
    "sdar/Pair-v0": {},
}
SEARCHES = find_spec("faiss") is not None


def played_by_the_plan(env: TextEnv, task_id: str) -> Decision | None:
    _, info = env.reset(options={"task_id": task_id})
    known = info["privileged"]
    stated = {statement.id: statement.value for statement in env.skill_bank.statements}  # type: ignore[attr-defined]
    own = {name: stated[name] for name in known["skills"]["claim_ids"]}
    instruction, facts, actions, over = info["instruction"], known["facts"], [], False
    while not over:
        actions.append(info["privileged"]["next_action"])
        _, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    return decision_of(env.env_id, Played(instruction, facts, actions, own))


@pytest.mark.parametrize("env_id", PLANNED)
def test_the_plan_follows_a_statement_exactly_where_it_is_true(env_id: str) -> None:
    if "SearchQA" in env_id and not SEARCHES:
        pytest.skip("faiss is not installed")
    env = cast(TextEnv, gym.make(env_id, split="valid", stale=0.4, **PLANNED[env_id]).unwrapped)
    found = [played_by_the_plan(env, task_id) for task_id in env.task_ids()[:60]]
    made = [decision for decision in found if decision is not None]
    assert len(made) > 30
    assert all(decision.followed == decision.true for decision in made)
    assert {decision.true for decision in made} == {True, False}


def test_the_first_walk_decides_in_the_household() -> None:
    facts = {"target_type": "apple", "target_receptacles": ["fridge 1", ""]}
    stated = {"home:apple": "shelf", "home:pan": "stove"}
    walked = ["look", "go to shelf 2", "go to fridge 1"]
    assert decision_of("sdar/Household-v0", Played("", facts, walked, stated)) == Decision(1, "home:apple", True, False)
    assert decision_of("sdar/Household-v0", Played("", facts, ["look"], stated)) is None
    assert decision_of("sdar/Household-v0", Played("", facts, walked, {"home:pan": "stove"})) is None
    assert decision_of("sdar/Household-v0", Played("", {}, walked, stated)) is None


def test_the_first_search_for_hotels_with_a_district_decides_on_a_trip() -> None:
    def call(arguments: str) -> str:
        return f'{{"name": "search_hotels", "arguments": {arguments}}}'

    stated = {"feature:kestrel": "desk", "office:kestrel": "river"}
    actions = ["no call", "[1]", '{"name": 3}', call("{}"), call('{"district": "river"}'), call('{"district": "old"}')]
    found = decision_of("sdar/Trip-v0", Played("", {"office": "old"}, actions, stated))
    assert found == Decision(4, "office:kestrel", True, False)
    assert decision_of("sdar/Trip-v0", Played("", {"office": "old"}, actions[:4], stated)) is None


def test_the_first_search_decides_on_a_question_whole_words_only() -> None:
    facts = {"evidence": [{"about": "the birthplace of mol", "query": "chronicle mol home"}]}
    said = ["<think>so</think><search>mol  Home town</search>"]
    found = decision_of("sdar/SearchQA-v0", Played("", facts, said, {"term:birthplace": "home"}))
    assert found == Decision(0, "term:birthplace", True, True)
    found = decision_of("sdar/SearchQA-v0", Played("", facts, said, {"term:birthplace": "hom"}))
    assert found == Decision(0, "term:birthplace", False, False)
    assert decision_of("sdar/SearchQA-v0", Played("", {"evidence": []}, said, {"term:birthplace": "home"})) is None


def test_the_first_offer_decides_in_a_bargain_of_the_small_size() -> None:
    facts = {"other_limit": 60}
    found = decision_of("sdar/Haggle-v0", Played("", facts, ["wait", "offer 60: please"], {"floor:boots": "60"}))
    assert found == Decision(1, "floor:boots", True, True)
    assert decision_of("sdar/Haggle-v0", Played("", facts, ["offer 60"], {"floor:boots": "60 %"})) is None


def test_worlds_of_other_people_have_no_decision() -> None:
    assert decision_of("strange/World-v0", Played("", {}, ["look"], {"home:apple": "shelf"})) is None
