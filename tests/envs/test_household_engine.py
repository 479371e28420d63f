"""The native engine: what it offers, what it does, what it says, and ALFWorld's quirks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import household_games
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar_envs.household.domain import load_domain
from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.grammar import GrammarError, load_grammar, read_grammar
from sdar_envs.household.pddl import And, Atom, Condition, Exists, Not, Or, read_domain, subtypes
from sdar_envs.household.planner import Planner
from sdar_envs.household.problem import Problem, parse_problem

KITCHEN = """
(define (problem kitchen) (:domain household)
  (:objects agent_1 - agent  start by_fridge by_table by_stove - location
            fridge_1 diningtable_1 microwave_1 - receptacle  apple_1 knife_1 - object
            appletype knifetype - otype  fridgetype diningtabletype microwavetype sinkbasintype - rtype)
  (:init (atLocation agent_1 start)
         (receptacleAtLocation fridge_1 by_fridge) (receptacleAtLocation diningtable_1 by_table)
         (receptacleAtLocation microwave_1 by_stove)
         (receptacleType fridge_1 fridgetype) (receptacleType diningtable_1 diningtabletype)
         (receptacleType microwave_1 microwavetype) (openable fridge_1) (openable microwave_1)
         (objectType apple_1 appletype) (objectType knife_1 knifetype) (pickupable apple_1) (pickupable knife_1)
         (heatable apple_1) (coolable apple_1) (sliceable apple_1)
         (canContain fridgetype appletype) (canContain diningtabletype appletype)
         (canContain diningtabletype knifetype)
         (inReceptacle apple_1 fridge_1) (inReceptacle knife_1 diningtable_1))
  (:goal (exists (?r - receptacle ?o - object) (and (isHot ?o) (objectType ?o appletype)
         (inReceptacle ?o ?r) (receptacleType ?r diningtabletype)))))
"""


def kitchen() -> NativeGame:
    game = NativeGame(*household_rules(), parse_problem(KITCHEN), task="put a hot apple in diningtable")
    game.reset()
    return game


def play(game: NativeGame, *commands: str) -> list[str]:
    said = []
    for command in commands:
        feedback, matched = game.step(command)
        assert matched, command
        said.append(feedback)
    return said


def test_a_game_is_told_in_alfworlds_words_from_the_introduction_to_the_win():
    game = kitchen()
    assert game.reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a diningtable 1, a fridge 1, and a "
        "microwave 1.\n\nYour task is to: put a hot apple in diningtable."
    )
    assert play(
        game, "go to fridge 1", "look", "open fridge 1", "take apple 1 from fridge 1", "inventory", "close fridge 1"
    ) == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You are facing the fridge 1. Next to it, you see nothing.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.",
        "You pick up the apple 1 from the fridge 1.",
        "You are carrying: a apple 1.",
        "You close the fridge 1.",
    ]
    assert play(game, "go to microwave 1", "heat apple 1 with microwave 1", "examine apple 1") == [
        "You arrive at microwave 1. The microwave 1 is closed.",
        "You heat the apple 1 using the microwave 1.",
        "This is a hot apple 1.",
    ]
    assert not game.won
    assert play(game, "go to diningtable 1", "move apple 1 to diningtable 1", "examine diningtable 1") == [
        "You arrive at diningtable 1. On the diningtable 1, you see a knife 1.",
        "You move the apple 1 to the diningtable 1.",
        "On the diningtable 1, you see a apple 1, and a knife 1.",
    ]
    assert game.won
    assert play(game, "take knife 1 from diningtable 1", "slice apple 1 with knife 1")[1] == (
        "You sliced the apple 1 with the knife 1."
    )


def test_the_commands_of_the_first_state_are_known_by_hand():
    assert kitchen().admissible() == [
        "go to diningtable 1", "go to fridge 1", "go to microwave 1", "help", "inventory", "look",
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["", "dance", "take apple 1 from fridge 1", "LOOK", "look look", "open fridge 1"])
def test_what_is_not_admissible_changes_nothing(command: str):
    game = kitchen()
    before = game.snapshot()
    assert game.step(command) == ("Nothing happens.", False)
    assert game.snapshot() == before


def test_the_place_where_one_stands_cannot_be_gone_to():
    game = kitchen()
    play(game, "go to fridge 1")
    assert "go to fridge 1" not in game.admissible()
    assert game.step("go to fridge 1") == ("Nothing happens.", False)


def test_a_thing_that_was_undone_is_recorded_as_not_so_until_it_is_so_again():
    game = kitchen()
    play(game, "go to fridge 1", "open fridge 1")
    assert not game.holds(("not_inreceptacle", "apple_1", "fridge_1"))
    play(game, "take apple 1 from fridge 1")
    assert game.holds(("not_inreceptacle", "apple_1", "fridge_1"))
    play(game, "move apple 1 to fridge 1")
    assert not game.holds(("not_inreceptacle", "apple_1", "fridge_1"))


def test_names_of_a_problem_are_read_in_lower_case():
    game = kitchen()
    assert game.holds(("inreceptacle", "apple_1", "fridge_1"))
    assert not game.holds(("inReceptacle", "apple_1", "fridge_1"))
    assert list(game.facts("openable")) == [("openable", "fridge_1"), ("openable", "microwave_1")]


def test_a_restored_state_is_the_state_and_reset_is_the_first():
    game = kitchen()
    first = (game.snapshot(), game.admissible())
    play(game, "go to fridge 1", "open fridge 1")
    here = (game.snapshot(), game.admissible(), list(game.facts("opened")))
    play(game, "take apple 1 from fridge 1", "go to microwave 1", "heat apple 1 with microwave 1")
    game.restore(here[0])
    assert (game.snapshot(), game.admissible(), list(game.facts("opened"))) == here
    game.reset()
    assert (game.snapshot(), game.admissible()) == first


def test_the_list_of_commands_belongs_to_the_caller():
    game = kitchen()
    game.admissible().clear()
    assert game.admissible()


# An independent reading of the domain: every grounding, by the definition of truth.


def truth(game: NativeGame, condition: Condition, names: dict[str, str]) -> bool:
    match condition:
        case Atom("=", (left, right)):
            return names.get(left, left) == names.get(right, right)
        case Atom(predicate, arguments):
            return game.holds((predicate, *[names.get(a, a) for a in arguments]))
        case Not(part):
            return not truth(game, part, names)
        case And(parts):
            return all(truth(game, part, names) for part in parts)
        case Or(parts):
            return any(truth(game, part, names) for part in parts)
        case Exists(variables, part):
            return any(truth(game, part, {**names, **chosen}) for chosen in groundings(game, variables))


def groundings(game: NativeGame, variables: tuple[tuple[str, str], ...]) -> Iterator[dict[str, str]]:
    parents = game.domain.text.parents
    pools = [[o for o, k in game.problem.objects.items() if k in subtypes(kind, parents)] for _, kind in variables]
    for values in itertools.product(*pools):
        yield dict(zip([name for name, _ in variables], values, strict=True))


def naive_commands(game: NativeGame) -> set[str]:
    """Commands of the applicable actions, by enumeration; an action that its precondition makes idle is left out."""
    words = {
        "gotolocation": "go to {r}", "openobject": "open {r}", "closeobject": "close {r}", "look": "look",
        "inventory": "inventory", "help": "help", "examinereceptacle": "examine {r}", "examineobject": "examine {o}",
        "pickupobject": "take {o} from {r}", "putobject": "move {o} to {r}", "cleanobject": "clean {o} with {r}",
        "heatobject": "heat {o} with {r}", "coolobject": "cool {o} with {r}", "toggleobject": "use {o}",
        "sliceobject": "slice {co} with {ko}",
    }  # fmt: skip
    found = set()
    for action in game.domain.text.actions:
        for chosen in groundings(game, action.parameters):
            if action.name == "gotolocation" and chosen["?lstart"] == chosen["?lend"]:
                continue
            if truth(game, action.precondition, chosen):
                shown = {name.lstrip("?"): game.display(value) for name, value in chosen.items()}
                found.add(words[action.name].format(**shown))
    return found


# Few enough objects to enumerate: "object" is the root of all types, so that its parameters range over everything.
TINY = """
(define (problem tiny) (:domain household)
  (:objects a_1 - agent  l_0 l_1 - location  fridge_1 - receptacle  apple_1 - object  appletype - otype
            fridgetype - rtype)
  (:init (atLocation a_1 l_0) (receptacleAtLocation fridge_1 l_1) (receptacleType fridge_1 fridgetype)
         (openable fridge_1) (objectType apple_1 appletype) (pickupable apple_1) (coolable apple_1)
         (canContain fridgetype appletype) (inReceptacle apple_1 fridge_1))
  (:goal (and)))
"""


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_offered_commands_are_those_of_a_plain_reading_of_the_domain(seed: int):
    rng = random.Random(seed)
    game = NativeGame(*household_rules(), parse_problem(TINY), task="x")
    game.reset()
    for _ in range(6):
        assert set(game.admissible()) == naive_commands(game)
        game.step(rng.choice(game.admissible()))


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 600), seed=st.integers(0, 1000))
def test_incremental_commands_equal_those_of_a_fresh_game_in_the_same_state(number: int, seed: int):
    rng = random.Random(seed)
    game = household_games.native_game(f"train:{number:06d}", size="small")
    game.reset()
    for _ in range(12):
        game.step(rng.choice(game.admissible()))
    fresh = household_games.native_game(f"train:{number:06d}", size="small")
    fresh.reset()
    fresh.restore(game.snapshot())
    assert fresh.admissible() == game.admissible()
    assert fresh.won == game.won


@pytest.mark.parametrize("number", range(6))
def test_a_plan_wins_and_the_game_goes_on_after_it(number: int):
    game = household_games.native_game(f"train:{number:06d}")
    game.reset()
    plan = Planner(game).plan()
    for command in plan:
        assert not game.won
        assert game.step(command)[1]
    assert game.won
    assert game.step("inventory")[1]


def test_both_joins_and_texts_are_compiled_once_per_content():
    domain, grammar = household_rules()
    assert load_domain(domain.text.source) is domain
    assert load_grammar(grammar.source) is grammar


# Quirks of ALFWorld's domain and of TextWorld's reading of it, on a domain of three actions.

QUIRKS = """
(define (domain quirks)
  (:types agent location thing)
  (:predicates (at ?a - agent ?l - location) (in ?t - thing ?l - location) (seen ?x) (lit ?t - thing))
  (:action touch :parameters (?a - agent ?t - thing)
    :precondition (or (exists (?l - location, ?u - thing) (and (at ?a ?l) (in ?t ?l)))
                      (lit ?t))
    :effect (seen ?t))
  (:action light :parameters (?t - thing) :precondition (not (lit ?t))
    :effect (and (lit ?t) (when (exists (?l - location) (in ?t ?l)) (seen ?t))))
  (:action rest :parameters (?a - agent) :precondition (seen ?a) :effect (and))
)
"""
QUIRK_TEXTS = """
grammar :: \"\"\"{
  "intro": [{"rhs": "   \\n  Things: [{t.name | in(t:thing, l:location)}]. Pairs: #pairs#."}],
  "pairs": [{"condition": "in(t:thing, l:location) & in(u:thing, l:location)", "rhs": "some"}, {"rhs": "none"}],
  "list_empty": [{"rhs": "nothing"}], "list_separator": [{"rhs": ", "}], "list_last_separator": [{"rhs": ", and "}]
}\"\"\";
action touch { template :: "touch {t}"; feedback :: "Cold."; }
action light { template :: "light {t}"; feedback :: "#bright#";
  grammar :: \"\"\"{
    # a comment of an action's grammar
    "bright": [
      {"condition": "not_lit(t:thing)", "rhs": "Never."}, {"rhs": "{t.indefinite + ' ' + t.name} shines; lost"}
    ]
  }\"\"\";
}
action rest { template :: "rest"; feedback :: "Zzz."; }
"""


def quirk_game(things: tuple[str, ...], places: dict[str, str]) -> NativeGame:
    objects = {
        "a": "agent",
        **dict.fromkeys(sorted(set(places.values())), "location"),
        **dict.fromkeys(things, "thing"),
    }
    first = next(iter(places.values()))
    init = (("at", "a", first), *(("in", thing, place) for thing, place in places.items()))
    game = NativeGame(
        load_domain(QUIRKS), load_grammar(QUIRK_TEXTS), Problem("q", "quirks", objects, init, Atom("lit", (things[0],)))
    )
    game.reset()
    return game


def test_a_stray_comma_makes_an_unknown_type_so_that_its_alternative_never_holds():
    game = quirk_game(("lamp_1",), {"lamp_1": "here"})
    assert game.admissible() == ["light lamp 1"]
    play(game, "light lamp 1")
    assert game.admissible() == ["touch lamp 1"]


def test_an_action_that_changes_nothing_is_dropped():
    assert [action.name for action in read_domain(QUIRKS).actions] == ["touch", "light"]


def test_white_space_before_a_text_is_eaten_and_lists_come_in_the_order_of_ids():
    ten = quirk_game(("b_10", "b_2", "b_1"), {"b_10": "x", "b_2": "y", "b_1": "x"})
    assert ten.reset() == "Things: b 1, b 10, and b 2. Pairs: some."


def test_distinct_placeholders_stand_for_distinct_objects():
    assert quirk_game(("b_1",), {"b_1": "x"}).reset() == "Things: b 1. Pairs: none."


def test_a_text_ends_where_textworlds_reader_stops():
    game = quirk_game(("b_1",), {"b_1": "x"})
    assert play(game, "light b 1") == ["a b 1 shines"]
    assert game.won
    assert game.holds(("seen", "b_1"))  # the conditional effect


def test_a_grammar_without_a_text_for_an_action_is_refused():
    grammar = read_grammar(QUIRK_TEXTS.replace("action light", "action lit"))
    problem = Problem("q", "quirks", {"a": "agent"}, (), And())
    with pytest.raises(GrammarError, match="'light'"):
        NativeGame(load_domain(QUIRKS), grammar, problem)
