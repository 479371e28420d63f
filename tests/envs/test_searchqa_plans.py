"""The privileged side of the questions: plans that lead to the answer, hints that rise to it, skills, clusters."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("faiss")

from searchqa_episodes import SMALL, answer, begin, search

from sdar_envs.searchqa import tables
from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.library import open_library

pytestmark = pytest.mark.usefixtures("own_cache")


def follow(env: SearchQAEnv, number: int) -> tuple[int, dict[str, Any]]:
    """Follow the plan to the end: how many turns it took, and what was said last."""
    _, info = begin(env, number)
    left = len(info["privileged"]["plan"])
    turn = 0
    while left:
        turn += 1
        _, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
        assert info["is_action_valid"] and not truncated
        # A search may find what a later one was for, too: then the plan shrinks by both.
        assert len(info["privileged"]["plan"]) < left
        left = len(info["privileged"]["plan"])
        assert terminated == (not left) == info["success"] == bool(reward)
    return turn, info


@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_following_the_plan_answers_every_question_of_every_split(size: str, split: str):
    env = SearchQAEnv(split=split, **(SMALL if size == "small" else {}))
    taken = [follow(env, number)[0] for number in range(60)]
    assert max(taken) <= env.horizon == tables.SIZE_TABLES[size].max_turns and min(taken) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_following_the_plan_answers_2000_questions_of_every_split(size: str, split: str, seed: int):
    env = SearchQAEnv(split=split, world_seed=seed, **(SMALL if size == "small" else {}))
    for number in range(2_000):
        follow(env, number)


def test_the_plan_shrinks_by_what_was_seen_and_not_by_what_was_not():
    env = SearchQAEnv(**SMALL, task_type="compare", max_turns=6)
    _, info = begin(env, 2)
    plan = info["privileged"]["plan"]
    assert len(plan) == 4
    _, _, _, _, info = env.step(search("nothing of the kind"))
    assert info["privileged"]["plan"] == plan
    _, _, _, _, info = env.step(plan[1])  # candidates come in any order
    assert info["privileged"]["plan"] == [plan[0], *plan[2:]]
    facts = info["privileged"]["facts"]
    assert facts["evidence_seen"] == [info["hit_ids"][0]] and len(facts["missing"]) == 2
    assert [piece["seen"] for piece in facts["evidence"]] == [False, True, False]


def test_the_plan_always_leaves_a_turn_to_answer_in():
    env = SearchQAEnv(**SMALL, task_type="compare")
    _, info = begin(env, 2)
    for left in range(4, 0, -1):
        plan = info["privileged"]["plan"]
        assert len(plan) <= left and plan[-1].startswith("<answer>")
        _, _, _, _, info = env.step("no tags")
    assert info["privileged"]["plan"] == [] and info["privileged"]["next_action"] == ""


def test_the_privileged_side_knows_the_answers_the_passages_and_where_they_stand():
    env = SearchQAEnv()
    world = open_library("full", "train", 0, 0.85).world
    _, info = begin(env, 3)
    facts = info["privileged"]["facts"]
    for piece, passage in zip(facts["evidence"], facts["gold_passages"], strict=True):
        assert passage == world.passages[int(piece["passage"])].contents
        assert piece["value"] in passage and piece["query"] in info["privileged"]["plan"][0] + str(facts)
    assert facts["hops"] == len(facts["evidence"]) == len(info["privileged"]["plan"]) - 1
    assert info["privileged"]["plan"][-1] == answer(facts["answers"][0])


def test_hints_rise_from_the_rule_to_the_next_action():
    env = SearchQAEnv(**SMALL)
    _, info = begin(env, 3)
    rule, missing, action = info["privileged"]["hints"]
    assert "outward" in rule and missing.startswith("Still to be found is the ")
    assert action.endswith(info["privileged"]["next_action"])
    _, info = follow(env, 3)
    assert info["privileged"]["hints"][1:] == ["Nothing is left to do."]


def test_skills_are_those_of_the_task_type_and_statements_those_of_the_relations():
    env = SearchQAEnv()
    for number in range(8):
        _, info = begin(env, number)
        skills = info["privileged"]["skills"]
        asked = set(info["skill_keys"])
        assert {statement.partition(":")[2] for statement in skills["claim_ids"]} == asked
        assert skills["general"] and skills["task"] and len(skills["lines"]) == len(skills["compact_lines"])
        words = info["instruction"].lower()
        relations = [key for key in asked if key in tables.RELATIONS]
        assert relations and "byname" in asked and all(isinstance(key, str) for key in asked)
        assert not any(term in words for key in relations for term in tables.RELATIONS[key].terms)


def test_a_stale_share_changes_statements_and_nothing_in_the_world():
    fresh, stale = SearchQAEnv(**SMALL), SearchQAEnv(**SMALL, stale=0.5, stale_seed=3)
    differing = 0
    for number in range(20):
        (text, info), (other_text, other) = begin(fresh, number), begin(stale, number)
        assert text == other_text and info["privileged"]["plan"] == other["privileged"]["plan"]
        marks = other["privileged"]["skills"]["stale"]
        pairs = zip(info["privileged"]["skills"]["lines"], other["privileged"]["skills"]["lines"], strict=True)
        assert [one != two for one, two in pairs] == marks
        differing += sum(marks)
    assert differing > 10
    keys = {statement.keys[0] for statement in stale.skill_bank.statements}
    assert len(stale.skill_bank.stale_keys()) == round(0.5 * len(keys))


def test_tasks_that_hang_on_the_same_passage_are_of_one_cluster():
    """Intervals of success rates are widened by it: a world of 110 things repeats itself in 400 questions."""
    env = SearchQAEnv(**SMALL, split="test")
    asked: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for task_id in env.task_ids()[:400]:
        _, info = env.reset(options={"task_id": task_id})
        cluster, evidence = env.cluster_of(task_id), info["privileged"]["facts"]["evidence"]
        kinds.setdefault(cluster, set()).add(info["task_type"])
        asked.setdefault(info["instruction"], set()).add(cluster)
        passages = [piece["passage"] for piece in evidence]
        assert cluster == (" ".join(sorted(passages)) if info["task_type"] == "compare" else passages[-1])
    assert 200 < len(kinds) < 350 and all(len(clusters) == 1 for clusters in asked.values())
    assert any({"direct", "multi_hop"} <= found for found in kinds.values())  # a chain may end where a question begins
