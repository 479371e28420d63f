"""Pair: a shared house whose two games agree, plans that are shortest, and secrets that stay with their role."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import json
import pickle
import warnings
from collections import deque

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.hostile import hostile_actions
from sdar_envs.multiagent.pair.demonstrator import SCRIPT
from sdar_envs.multiagent.pair.env import PairEnv
from sdar_envs.multiagent.pair.game import Pair
from sdar_envs.multiagent.pair.house import shared_facts
from sdar_envs.multiagent.pair.players import PLAYERS, make_player
from sdar_envs.multiagent.pair.tables import APPLIANCES, COOK, HORIZON, OTHER, ROLES, RUNNER
from sdar_envs.multiagent.pair.tasks import PairTask, make_task
from sdar_envs.multiagent.pair.version import world_content, world_version
from sdar_envs.multiagent.pair.wishes import runner_statements, wanted_kinds, wishes
from sdar_envs.multiagent.playing import play_game
from sdar_envs.randomness import counted_generator
from sdar_envs.versioning import digest

ENV_ID = "sdar/Pair-v0"
gym.register_envs(sdar_envs)


def begun(task_id: str = "train:000000", **kwargs: object) -> Pair:
    game = Pair(**kwargs)
    game.begin(task_id)
    return game


def lines(world_seed: int = 0) -> list[str]:
    return [statement.compact_line() for statement in runner_statements(world_seed)]


# --- tasks ---


def test_rooms_are_divided_so_that_both_are_needed():
    for number in range(80):
        task = make_task(f"valid:{number:06d}")
        sides, kind = task.sides, task.statics.receptacle_type
        state = {fact[1]: fact[2] for fact in task.problem.init if fact[0] == "inreceptacle"}
        assert set(sides.cook).isdisjoint(sides.runner) and sides.shared not in (*sides.cook, *sides.runner)
        assert {*sides.cook, *sides.runner, sides.shared} == set(task.statics.location)
        of_cook = {f"{name}type" for name in (*APPLIANCES, task.draft.destination)}
        assert all((kind[name] in of_cook) == (name in sides.cook) for name in kind if name in task.statics.location)
        assert all(state[target] in sides.runner for target in task.statics.targets)
        assert sides.shared in task.statics.containers[task.statics.goal.target]
        assert task.joint <= HORIZON


def test_wishes_hold_about_as_often_as_they_should_and_no_game_is_in_training_and_validation():
    tasks = {split: [make_task(f"{split}:{number:06d}") for number in range(240)] for split in ("train", "valid")}
    for some in tasks.values():
        kept = [task.target == wishes(0)[task.draft.layout.kind, task.occasion] for task in some]
        assert all(kept[n] for n, task in enumerate(some) if task.regular)
        assert abs(sum(task.regular for task in some) / len(some) - 0.85) < 0.08
    contents = {split: {task.draft.content() for task in some} for split, some in tasks.items()}
    assert contents["train"].isdisjoint(contents["valid"])


def test_what_is_wanted_is_no_lamp_and_fits_every_task_of_its_room():
    for world_seed in range(60):
        for kind in ("kitchen", "living", "bedroom", "bathroom"):
            assert len(wanted_kinds(kind, world_seed)) >= 2
            assert not {"desklamp", "floorlamp"} & set(wanted_kinds(kind, world_seed))


# --- the shared house ---


@pytest.mark.parametrize("seed", range(6))
def test_after_every_act_both_games_hold_the_same_facts(seed: int):
    game = begun(f"valid:{seed:06d}", horizon=60)
    rng = counted_generator("test", "pair", seed)
    while not game.over:
        role = game.turn
        actions = game.public(role)["admissible_actions"]
        game.act(role, actions[int(rng.integers(len(actions)))])
        snapshots = {one: game.house.games[one].snapshot() for one in ROLES}
        held = {one: game.house.held(one) for one in ROLES}
        assert shared_facts(snapshots[COOK]) == shared_facts(snapshots[RUNNER])
        assert not held[COOK] or held[COOK] != held[RUNNER]
        places = {fact[1] for fact in snapshots[COOK] if fact[0] == "inreceptacle"}
        assert places.isdisjoint(set(held.values()))


def test_nobody_walks_to_the_others_side_and_both_walk_to_the_pass():
    game = begun()
    sides = game.task.sides
    for role, own, foreign in ((COOK, sides.cook, sides.runner), (RUNNER, sides.runner, sides.cook)):
        listed = game.public(role)["admissible_actions"]
        shown = [name.replace("_", " ") for name in (*own, sides.shared)]
        assert {action for action in listed if action.startswith("go to")} == {f"go to {name}" for name in shown}
        assert "help" not in listed and "wait" in listed
        game.begin("train:000000")
        if role == RUNNER:
            game.act(COOK, "wait")
        assert game.act(role, f"go to {foreign[0].replace('_', ' ')}") is False
        assert game.observe(role) == "Nothing happens."


def test_who_stands_at_the_same_place_sees_what_the_other_does_and_nobody_else_does():
    game = begun()
    shared = game.task.sides.shared.replace("_", " ")
    fetch = game.plan(RUNNER)
    thing = fetch[-1].removeprefix("move ").partition(" to ")[0]
    game.act(COOK, f"go to {shared}")
    for action in fetch[:-1]:
        game.act(RUNNER, action)
        assert thing not in game.observe(COOK)
        game.act(COOK, "wait")
    game.act(RUNNER, fetch[-1])
    assert game.observe(COOK) == f"You wait. you see the runner move {thing} to {shared}."


# --- plans ---


def follow(game: Pair) -> None:
    while not game.over:
        role = game.turn
        plan = game.plan(role)
        assert plan and game.privileged(role)["next_action"] == plan[0]
        assert game.act(role, plan[0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_plans_together_win_in_exactly_the_turns_that_were_foretold(split: str):
    game = Pair()
    for number in range(60):
        game.begin(f"{split}:{number:06d}")
        foretold = game.joint_plan().turns
        follow(game)
        assert game.won and game.turns_taken[COOK] == foretold == game.task.joint
        assert game.plan(COOK) == game.plan(RUNNER) == [] and game.rewards == {COOK: 1.0, RUNNER: 1.0}


@pytest.mark.slow
def test_five_hundred_joint_plans_win_within_the_horizon():
    game = Pair()
    for number in range(500):
        game.begin(f"test:{number:06d}")
        follow(game)
        assert game.won


@pytest.mark.parametrize("seed", range(12))
def test_plans_win_from_wherever_random_play_has_led(seed: int):
    game = begun(f"valid:{seed:06d}", horizon=60)
    rng = counted_generator("test", "pair plan", seed)
    for _ in range(14):
        actions = game.public(game.turn)["admissible_actions"]
        game.act(game.turn, actions[int(rng.integers(len(actions)))])
        if game.over:
            return
    found = game.joint_plan()
    turns = game.turns_taken[COOK]
    if found is not None:
        follow(game)
        assert game.won and game.turns_taken[COOK] - turns == found.turns


def fewest_turns(task: PairTask, most: int) -> int | None:
    """The shortest joint play by breadth-first search over both robots' sensible actions, with no planner in it.

    A state: where both are, what both hold (target or nothing), where the targets are, which are done, which doors are
    open. Nothing else in the house matters to the goal.
    """
    statics, sides = task.statics, task.sides
    targets = sorted(statics.targets)
    start = {fact[1]: fact[2] for fact in task.problem.init if fact[0] == "inreceptacle"}
    appliance = {"heat": "microwavetype", "cool": "fridgetype", "clean": "sinkbasintype"}.get(task.draft.task_type)
    goal = statics.goal.destination
    holders = set(statics.containers[statics.goal.target])
    kind = statics.receptacle_type

    def moves(role: str, state: tuple) -> list[tuple]:
        at, hands, where, done, doors = state
        me = ROLES.index(role)
        here, held = at[me], hands[me]
        after = [state]

        def changed(new_at=at, new_hands=hands, new_where=where, new_done=done, new_doors=doors) -> None:
            after.append((new_at, new_hands, new_where, new_done, new_doors))

        for place in sides.reach(role):
            if place != here:
                changed(new_at=tuple(place if n == me else at[n] for n in (0, 1)))
        if here in statics.openable and here not in doors:
            changed(new_doors=doors | {here})
        is_open = here not in statics.openable or here in doors
        for number, target in enumerate(targets):
            if where[number] == here and held == "" and is_open and here:
                moved = tuple("" if n == number else where[n] for n in range(len(where)))
                changed(new_hands=tuple(target if n == me else hands[n] for n in (0, 1)), new_where=moved)
        if held:
            number = targets.index(held)
            if here in holders and is_open:
                moved = tuple(here if n == number else where[n] for n in range(len(where)))
                changed(new_hands=tuple("" if n == me else hands[n] for n in (0, 1)), new_where=moved)
            if appliance and kind.get(here) == appliance:
                changed(new_done=done | {held})
        return after

    def won(state: tuple) -> bool:
        _, _, where, done, _ = state
        return any(
            kind.get(place) == goal and (appliance is None or target in done)
            for target, place in zip(targets, where, strict=True)
        )

    first = (("", ""), ("", ""), tuple(start[target] for target in targets), frozenset(), frozenset())
    reached, frontier = {first}, deque([first])
    for turns in range(1, most + 1):
        for role in ROLES:
            found = {state for now in frontier for state in moves(role, now)} - (reached if role == RUNNER else set())
            if role == COOK and any(map(won, found)):
                return turns
            frontier = deque(found)
        reached |= set(frontier)
    return None


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_no_joint_play_is_shorter_than_the_plan(number: int):
    """Of each task type the first task with one target: breadth-first search finds no shorter way."""
    candidates = (make_task(f"valid:{n:06d}") for n in itertools.count(number, 4))
    task = next(task for task in candidates if len(task.statics.targets) == 1 and task.joint <= 8)
    assert fewest_turns(task, task.joint - 1) is None


# --- what each side may read ---


def test_the_cook_alone_reads_the_task_and_the_runner_alone_the_occasion():
    game = begun("train:000002")
    sentence, target = game.task.draft.sentence, game.task.target
    assert sentence in game.observe(COOK) and game.task.occasion not in game.observe(COOK)
    runner = json.dumps(dataclasses.asdict(game.view(RUNNER)))
    assert sentence not in runner and target not in runner and game.task.draft.task_type not in runner
    assert f"it is {game.task.occasion}." in game.observe(RUNNER)
    assert game.privileged(RUNNER)["facts"]["task"] == sentence


@pytest.mark.parametrize("channel", ["none", "free"])
def test_a_canary_in_the_cooks_task_is_whole_for_the_runners_teacher_and_never_in_its_students_text(channel: str):
    canary = "put a hot canary-4711 in the fridge-4712."
    for number in range(8):
        game = begun(f"valid:{number:06d}", channel=channel)
        game.task = dataclasses.replace(game.task, draft=dataclasses.replace(game.task.draft, sentence=canary))
        while not game.over:
            assert "canary" not in repr(game.view(RUNNER)) and "4712" not in repr(game.view(RUNNER))
            known = game.privileged(RUNNER)
            assert canary in known["hints"][0] and known["facts"]["task"] == canary
            game.act(game.turn, game.plan(game.turn)[0])


def test_a_canary_in_what_the_runner_has_found_is_whole_for_the_cooks_teacher_and_never_in_its_students_text():
    game = begun("valid:000001")
    game.act(COOK, "wait")
    game._looked_in.append("canary-4711")
    while not game.over:
        assert "canary" not in repr(game.view(COOK))
        assert "canary-4711" in game.privileged(COOK)["facts"]["runner_has_looked_in"]
        game.act(game.turn, game.plan(game.turn)[0])


def test_a_runner_is_told_a_wish_and_then_the_home_of_what_the_wish_names_right_or_wrong():
    for stale in (0.0, 1.0):
        game = begun("train:000000", stale=stale)
        skills = game.privileged(RUNNER)["skills"]
        kind, occasion = game.task.draft.layout.kind, game.task.occasion
        assert skills["claim_ids"][0] == f"wish:{kind}:{occasion}" and len(skills["claim_ids"]) == 2
        stated = skills["compact_lines"][0].removesuffix(".").rpartition(" ")[2]
        assert skills["claim_ids"][1] == f"home:{stated}"
        assert (stated == wishes(0)[kind, occasion]) is (stale == 0.0)
        assert stated not in game.public(RUNNER)["skill_keys"]


def test_the_banks_of_both_roles_share_no_key_and_no_statement():
    game = Pair()
    banks = [game.skill_bank(role) for role in ROLES]
    assert {s.keys[0] for s in banks[0].statements}.isdisjoint({s.keys[0] for s in banks[1].statements})
    joined = PairEnv(role="both").skill_bank
    assert len(joined.statements) == sum(len(bank.statements) for bank in banks)


# --- talk ---


@pytest.mark.parametrize(
    ("channel", "text", "heard"),
    [
        ("none", "say plate", None),
        ("word", "say plate", "plate"),
        ("word", "say the plate", None),
        ("word", "say " + "a" * 21, None),
        ("free", "say the plate, please", "the plate, please"),
        (
            "free",
            'say ". you see the cook move plate 1 to shelf 1. "',
            "'. you see the cook move plate 1 to shelf 1. '",
        ),
        ("free", "say " + "a" * 201, None),
        ("free", "say ", None),
    ],
)
def test_a_channel_passes_on_what_it_carries_between_quotation_marks(channel: str, text: str, heard: str | None):
    game = begun(channel=channel)
    assert game.act(COOK, text) is (heard is not None)
    said = game.observe(RUNNER).partition("you reach: ")[2]
    assert said.count('"') == (0 if heard is None else 2)
    assert heard is None or said.endswith(f'the cook says "{heard}".')


def test_hostile_words_and_commands_leave_one_encodable_line():
    game = begun(channel="free", horizon=10_000)
    for text in hostile_actions(500, legal=("wait", "look")):
        for said in (text, f"say {text}"):
            role = game.turn
            game.act(role, said)
            heard = game.observe(game.turn)
            heard.encode("utf-8")
            assert len(heard.splitlines()) == 1 and heard.count('"') in (0, 2)
            assert "you see the" not in "".join(heard.split('"')[::2])
            assert not game.over


# --- players ---

# Runner -> share of the first 1,000 training tasks won with the usual cook, as docs/pair.md has it.
PUBLISHED = {"informed": 0.77, "wishes": 0.32, "carrier": 0.23, "random": 0.0}


@pytest.mark.parametrize("name", PUBLISHED)
def test_knowledge_is_worth_what_the_page_says(name: str):
    game, count = Pair(), 160
    won = 0
    for task_id in game.task_ids("train")[:count]:
        play_game(game, task_id, {COOK: make_player("cook", COOK), RUNNER: make_player(name, RUNNER, lines())})
        won += game.won
    spread = (PUBLISHED[name] * (1 - PUBLISHED[name]) / count) ** 0.5
    assert abs(won / count - PUBLISHED[name]) <= 0.01 + 3.5 * spread


def test_a_cook_that_speaks_makes_its_task_known():
    game, won = Pair(channel="word"), {"listener": 0, "carrier": 0}
    for name, task_id in itertools.product(won, game.task_ids("train")[:60]):
        play_game(game, task_id, {COOK: make_player("teller", COOK), RUNNER: make_player(name, RUNNER, lines())})
        won[name] += game.won
    assert won["listener"] > won["carrier"] + 20


@pytest.mark.parametrize("role", ROLES)
def test_players_repeat_themselves_also_from_a_copy_in_mid_game(role: str):
    for name in PLAYERS[role]:
        game = begun("valid:000003", channel="free")
        players = {role: make_player(name, role, lines()), OTHER[role]: make_player("partner", OTHER[role], lines())}
        for _ in range(5):
            view = game.view(game.turn, draw=("x",))
            game.act(game.turn, players[game.turn].act(view))
        twin, others = pickle.loads(pickle.dumps((game, players)))
        for one, seats in ((game, players), (twin, others)):
            while not one.over:
                one.act(one.turn, seats[one.turn].act(one.view(one.turn, draw=("x",))))
        assert game.log == twin.log, name


def test_unknown_players_channels_and_options_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown player 'cock' for Pair's cook_0.*nearest is \"cook\""):
        make_player("cock", COOK)
    with pytest.raises(ValueError, match=r"unknown player 'teller' for Pair's runner_0"):
        PairEnv(role=COOK, opponent="teller")
    with pytest.raises(ValueError, match=r"unknown channel 'loud' for sdar/pair-v0: choose from none, word, free"):
        Pair(channel="loud")
    for wrong in ({"shaping": 1}, {"stale": 2}, {"horizon": 0}, {"regularity": 2}, {"retrieval": "x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Pair(**wrong)


def test_shaping_pays_both_once_when_a_wanted_thing_first_lies_on_the_pass():
    game = begun(shaping=True)
    paid = []
    while not game.over:
        game.act(game.turn, game.plan(game.turn)[0])
        paid.append(tuple(game.rewards.values()))
    assert [pay for pay in paid if pay != (0.0, 0.0)] == [(0.2, 0.2), (1.0, 1.0)]


def test_a_runner_that_never_acts_costs_both_the_game():
    game = Pair()
    players = {COOK: make_player("cook", COOK), RUNNER: make_player("silent", RUNNER)}
    assert play_game(game, "train:000000", players) == {COOK: 0.0, RUNNER: 0.0}
    assert game.truncated and game.observe(RUNNER).endswith("time is up.")


# --- Gymnasium and PettingZoo ---


def test_the_runners_seat_passes_the_whole_checker():
    report = check_text_env(
        functools.partial(gym.make, ENV_ID), episodes=4, hostile_actions=250, sessions=6, split_tasks=20
    )
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


@pytest.mark.parametrize("kwargs", [{"role": COOK, "channel": "free"}, {"role": "both", "shaping": True, "stale": 0.5}])
def test_the_other_seats_pass_all_but_the_plan_which_needs_a_partner_that_follows_it(kwargs: dict):
    make = functools.partial(gym.make, ENV_ID, **kwargs)
    # Without a partner that follows it, the plan is no oracle; and a cook's first view is little more than the recipe.
    check_text_env(make, episodes=3, hostile_actions=120, sessions=6, skip=("plan", "floor_gap", "splits"))


KNOWN_WARNINGS = {
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
    "Action space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
}


def test_the_tests_of_pettingzoo_pass_with_exactly_the_known_warnings(capsys: pytest.CaptureFixture):
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test

    from sdar_envs.multiagent import pair_v0

    for make in (pair_v0.env, pair_v0.raw_env):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            api_test(make(channel="free"), num_cycles=40)
        assert {str(warning.message) for warning in caught} == KNOWN_WARNINGS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seed_test(pair_v0.env, num_cycles=30)
        parallel_api_test(pair_v0.parallel_env(), num_cycles=40)
        parallel_seed_test(pair_v0.parallel_env, num_cycles=30)
        render_test(lambda render_mode=None: pair_v0.env(render_mode=render_mode))
    assert "train:" in capsys.readouterr().out


@pytest.mark.parametrize("again", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_in_mid_game_keeps_the_game_and_goes_on_alone(again):
    pytest.importorskip("pettingzoo")
    from sdar_envs.multiagent import pair_v0

    env = pair_v0.env()
    env.reset(seed=2)
    for _ in range(5):
        env.step(env.last()[4]["privileged"]["next_action"])
    twin = again(env)
    assert twin.last() == env.last()
    twin.step("wait")
    assert len(twin.unwrapped.game.log) == 6 and len(env.unwrapped.game.log) == 5
    assert again(Pair()).task is None


def test_the_version_changes_with_the_rule_of_a_player(monkeypatch: pytest.MonkeyPatch):
    assert Pair().world_version == PairEnv().world_version == world_version(Pair) == digest(world_content(Pair))
    monkeypatch.setitem(PLAYERS[COOK], "cook", PLAYERS[COOK]["silent"])  # type: ignore[index]
    assert digest(world_content(Pair)) != world_version(Pair)


def test_demonstrations_with_the_statements_win_more_than_those_without():
    from sdar_envs.demonstrations import demonstrate

    for role, most in ((RUNNER, 30), (COOK, 36)):
        won = {
            hinted: sum(demonstrate(SCRIPT, {"role": role}, key=(0, n), hinted=hinted).success for n in range(40))
            for hinted in (True, False)
        }
        assert won[True] > won[False] + 3 and 3 < won[False] < most, role
