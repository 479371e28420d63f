"""`instruction="habit"`: the sentence does not say where a thing belongs; that is a regularity of the house."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from test_household_planner import play, shortest_by_search

from sdar_envs.demonstrations import Demonstration, demonstrate, script_of
from sdar_envs.household import tables
from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.env import HouseholdEnv
from sdar_envs.household.generator import SPLIT_SIZES, generate, task_ids
from sdar_envs.household.planner import Planner
from sdar_envs.household.regularities import eligible_homes, regularities
from sdar_envs.household.searchers import Searcher, read_sentence

SIZES = tables.SIZES
# Five of the six: nothing is put anywhere in a `light` task.
HIDING = tuple(task_type for task_type in tables.TASK_TYPES if task_type != "light")


def begin(env: HouseholdEnv, task_id: str) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task_id": task_id})


def habit(size: str = "small", **kwargs: Any) -> HouseholdEnv:
    return HouseholdEnv(size=size, instruction="habit", **kwargs)


# The tasks.


@pytest.mark.parametrize("size", SIZES)
def test_the_sentence_does_not_say_where_the_thing_belongs_and_the_game_wants_it_there(size: str) -> None:
    env = habit(size)
    storages = regularities(size, 0).storages
    for task_id in env.task_ids()[:120]:
        observation, info = begin(env, task_id)
        task_type, target, destination = read_sentence(observation)
        facts = info["privileged"]["facts"]
        assert task_type == info["task_type"] and target == facts["target_type"]
        if task_type == "light":
            assert destination == facts["lamp"].rpartition(" ")[0]
            continue
        assert destination == ""
        assert re.search(r"where (it belongs|they belong)\.$", info["instruction"])
        assert facts["destination_type"] == storages[target]
        told = " ".join([info["instruction"], *info["skill_keys"]])
        assert storages[target] not in told


def test_tasks_that_put_nothing_anywhere_are_those_of_alfworlds_sentences() -> None:
    for task_id in task_ids("valid", "light")[:40]:
        named, hidden = generate(task_id, size="small"), generate(task_id, size="small", instruction="habit")
        assert hidden.draft == named.draft and hidden.problem.init == named.problem.init


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_thing_has_one_storage_that_is_not_its_home_in_all_splits(size: str) -> None:
    usual = regularities(size, 0)
    assert usual.storages.keys() == set(tables.object_types(size)) - set(tables.LAMPS)
    for name, storage in usual.storages.items():
        assert storage != usual.homes[name] and storage in eligible_homes(size, name)
    for split in SPLIT_SIZES:
        for task_id in task_ids(split)[:60]:
            draft = generate(task_id, size=size, instruction="habit").draft
            if draft.task_type != "light":
                assert draft.destination == usual.storages[draft.target]
                assert draft.destination in draft.layout.by_type


def test_storages_are_drawn_by_the_world_seed() -> None:
    drawn = {tuple(regularities("small", seed).storages.values()) for seed in range(20)}
    assert len(drawn) == 20


def test_what_is_told_before_the_first_action_depends_on_the_room_and_the_sentence_alone() -> None:
    env = habit()
    seen: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for number in range(400):
        observation, info = begin(env, f"train:{number:06d}")
        layout = info["privileged"]["facts"]["layout_id"]
        public = [*info["skill_keys"], *info["admissible_actions"]]
        seen.setdefault((layout, info["instruction"]), set()).add((observation, *public))
    assert all(len(told) == 1 for told in seen.values())


# Playing them.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", SPLIT_SIZES)
def test_the_expert_wins_every_game_of_every_split(size: str, split: str) -> None:
    env = habit(size, split=split)
    for task_id in env.task_ids()[:60]:
        _, info = begin(env, task_id)
        plan = info["privileged"]["plan"]
        assert 0 < len(plan) <= env.horizon
        for number, action in enumerate(plan, start=1):
            assert action == info["privileged"]["next_action"]
            _, reward, terminated, truncated, info = env.step(action)
            assert (terminated, reward, truncated) == (number == len(plan), float(number == len(plan)), False)
        assert info["success"]


def first_of(env: HouseholdEnv, task_type: str, wanted: int) -> tuple[str, dict[str, Any]]:
    """The first task of a type whose room has at least `wanted` receptacles to end in."""
    for task_id in task_ids("train", task_type)[:200]:
        observation, info = begin(env, task_id)
        if len(info["privileged"]["facts"]["destinations"]) >= wanted:
            return observation, info
    raise AssertionError("no such task")


def carry_to(env: HouseholdEnv, info: dict[str, Any], place: str) -> tuple[str, bool, dict[str, Any]]:
    """Follow the plan until the thing only has to be put somewhere, and put it into a place of one's own choice."""
    while any(action.startswith(("take", "clean", "heat", "cool")) for action in info["privileged"]["plan"]):
        *_, info = env.step(info["privileged"]["next_action"])
    held = info["privileged"]["facts"]["holding"]
    env.step(f"go to {place}")
    env.step(f"open {place}")
    text, _, terminated, _, info = env.step(f"move {held} to {place}")
    return text, terminated, info


@pytest.mark.parametrize("task_type", ["place", "clean", "heat", "cool"])
def test_any_receptacle_of_the_storage_counts(task_type: str) -> None:
    env = habit(horizon=40, size="full")
    _, info = first_of(env, task_type, 2)
    for number in range(len(info["privileged"]["facts"]["destinations"])):
        _, info = begin(env, info["task_id"])
        place = info["privileged"]["facts"]["destinations"][number]
        _, terminated, info = carry_to(env, info, place)
        assert terminated and info["success"], place


def test_a_wrong_place_gets_the_ordinary_answer_and_no_reward_and_the_plan_takes_the_thing_back() -> None:
    env = habit(horizon=40, size="full")
    _, info = first_of(env, "place", 1)
    facts = info["privileged"]["facts"]
    target, right = facts["target_type"], facts["destination_type"]
    room = generate(info["task_id"], instruction="habit").draft.layout
    wrong = next(name for name in room.holders[target] if name not in (right, facts["target_receptacles"][0][:-2]))
    text, terminated, info = carry_to(env, info, f"{wrong} 1")
    held = text.removeprefix("You move the ").partition(" to ")[0]
    assert text == f"You move the {held} to the {wrong} 1."
    assert not terminated and info["is_action_valid"] and not info["success"] and info["score"] == 0.0
    assert info["privileged"]["plan"], "the game can still be won"


def test_plans_are_as_short_as_breadth_first_search_finds_in_generated_games() -> None:
    checked = 0
    for task_id in task_ids("train", "place")[:30]:
        task = generate(task_id, size="small", instruction="habit")
        if task.shortest > 4:
            continue
        game = NativeGame(*household_rules(), task.problem)
        game.reset()
        plan = Planner(game).plan()
        assert len(plan) == task.shortest == shortest_by_search(game, len(plan))
        play(game, *plan)
        assert game.won
        checked += 1
    assert checked > 5


# What a teacher is told.


def test_the_statements_say_where_things_belong_and_only_here() -> None:
    storages = regularities("small", 0).storages
    env = habit()
    for number in range(30):
        _, info = begin(env, f"train:{number:06d}")
        target = info["skill_keys"][1]
        skills = info["privileged"]["skills"]
        assert f"storage:{target}" in skills["claim_ids"] and not any(skills["stale"])
        assert f"the {target} belongs on the {storages[target]}." in skills["compact_lines"]
        assert f"The {target} belongs in or on the {storages[target]}." in skills["lines"]
    fields = {statement.field for statement in HouseholdEnv(size="small").skill_bank.statements}
    assert fields == {"home", "appliance", "habit"}


def test_a_stale_key_has_a_wrong_home_and_a_wrong_storage_and_the_house_does_not_change() -> None:
    fresh, stale = habit(), habit(stale=0.25, stale_seed=3)
    usual = regularities("small", 0)
    wrong = stale.skill_bank.stale_keys()
    # The keys are those of the named tasks: staleness is of a thing, not of one statement about it.
    assert wrong == HouseholdEnv(size="small", stale=0.25, stale_seed=3).skill_bank.stale_keys()
    stated = {statement.id: statement for statement in stale.skill_bank.statements}
    for name in usual.storages:
        home, storage = stated[f"home:{name}"], stated[f"storage:{name}"]
        assert home.stale == storage.stale == (name in wrong)
        assert (home.value != usual.homes[name]) == (storage.value != usual.storages[name]) == (name in wrong)
    assert set(wrong) & usual.storages.keys(), "the test needs a stale kind of thing"
    for number in range(24):
        (text, info), (other_text, other_info) = (begin(env, f"train:{number:06d}") for env in (fresh, stale))
        assert text == other_text and info["privileged"]["plan"] == other_info["privileged"]["plan"]
        assert info["privileged"]["facts"] == other_info["privileged"]["facts"]


def test_the_prose_says_what_the_sentence_means_and_only_here() -> None:
    _, info = begin(habit(), "train:000000")
    _, named = begin(HouseholdEnv(size="small"), "train:000000")
    general = named["privileged"]["skills"]["general"]
    assert info["privileged"]["skills"]["general"].startswith(general + "\n\n**Put things where they belong.**")
    assert "belong" not in general


def test_hints_name_the_place_that_the_sentence_hides() -> None:
    _, info = begin(habit(), "train:000003")
    rule = info["privileged"]["hints"][0]
    assert f"move it to a {regularities('small', 0).storages[info['skill_keys'][1]]}" in rule


# Searching without knowing.


@pytest.mark.parametrize("task_type", HIDING)
def test_a_searcher_that_is_told_nothing_tries_every_kind_of_place_in_the_end(task_type: str) -> None:
    env = habit(horizon=400, task_type=task_type, expose_privileged=False)
    for task_id in env.task_ids()[:12]:
        assert searched(env, task_id, ())


def test_a_searcher_that_is_told_goes_to_the_storage_first() -> None:
    env = habit(task_type="place", regularity=1.0)
    usual = regularities("small", 0)
    statements = [statement.compact_line() for statement in usual.statements("habit")]
    for task_id in env.task_ids()[:20]:
        moves = [action for action in actions_of(env, task_id, statements) if action.startswith("move")]
        storage = usual.storages[env.reset(options={"task_id": task_id})[1]["skill_keys"][1]]
        assert len(moves) == 1 and f" to {storage} " in moves[0]


def test_a_searcher_that_is_told_wrong_storages_still_finds_the_right_one() -> None:
    env = habit(horizon=400, expose_privileged=False)
    wrong = [f"the {name} belongs on the {home}." for name, home in regularities("small", 0).homes.items()] + [
        "the mug belongs on the moon."
    ]
    assert all(searched(env, task_id, wrong) for task_id in env.task_ids()[:24])


def actions_of(env: HouseholdEnv, task_id: str, statements: Any) -> list[str]:
    """What a searcher does until the episode is over or it gives up."""
    observation, _ = begin(env, task_id)
    player = Searcher(tuple(statements), ("habit", task_id)).play(observation)
    actions: list[str] = []
    answer: str | None = None
    try:
        while True:
            actions.append(next(player) if answer is None else player.send(answer))
            answer, _, terminated, truncated, _ = env.step(actions[-1])
            if terminated or truncated:
                return actions
    except StopIteration:
        return actions


def searched(env: HouseholdEnv, task_id: str, statements: Any) -> bool:
    actions_of(env, task_id, statements)
    return env._playing.game.won


# Demonstrations for the warm start.


@functools.cache
def demonstrations(size: str, hinted: bool) -> list[Demonstration]:
    script = script_of("sdar/Household-v0")
    kwargs = {"size": size, "instruction": "habit"}
    return [demonstrate(script, kwargs, key=("habit", number), hinted=hinted) for number in range(120)]


@pytest.mark.parametrize("size", ["small", "medium"])
def test_demonstrations_succeed_more_often_with_the_hint_and_neither_kind_always(size: str) -> None:
    rates = {hinted: sum(shown.success for shown in demonstrations(size, hinted)) / 120 for hinted in (True, False)}
    assert 0.05 < rates[False] < rates[True] - 0.25 < 0.75


def placements(shown: Demonstration) -> tuple[str, str] | None:
    """The stated storage of the target and the kind of place that was tried first, where both exist."""
    assert shown.privileged[0] is not None
    lines = shown.privileged[0].reveal()["skills"]["compact_lines"]
    target = shown.views[0].skill_keys[1]
    stated = next(m[1] for line in lines if (m := re.fullmatch(rf"the {target} belongs on the (\w+)\.", line)))
    tried = (re.fullmatch(r"move \S+ \d+ to (\w+) \d+", action) for action in shown.actions)
    first = next((match[1] for match in tried if match), None)
    return (stated, first) if first else None


def test_hinted_demonstrations_follow_the_statement_and_others_know_nothing_of_it() -> None:
    shares = {}
    for hinted in (True, False):
        pairs = [pair for shown in demonstrations("small", hinted) if (pair := placements(shown))]
        assert len(pairs) > 40
        shares[hinted] = sum(stated == first for stated, first in pairs) / len(pairs)
    assert shares[True] == 1.0
    # Six to eight kinds of places stand in a small room.
    assert 0.05 < shares[False] < 0.3
