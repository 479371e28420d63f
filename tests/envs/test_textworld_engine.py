"""The same game on TextWorld's engine: what it does to the process is undone, and what it needs is said."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from typing import Any

import household_games
import pytest

from sdar_envs.household.engine import household_rules
from sdar_envs.household.generator import generate
from sdar_envs.household.grammar import Each, GrammarError, Node, Symbol, Text, Value, read_nodes
from sdar_envs.household.planner import Planner
from sdar_envs.household.problem import Problem
from sdar_envs.household.textworld_engine import INSTALL, TextWorldGame


@pytest.fixture
def make() -> Iterator[Any]:
    household_games.require_textworld()
    games: list[TextWorldGame] = []

    def made(number: int = 0) -> TextWorldGame:
        task = generate(f"train:{number:06d}", size="small")
        games.append(TextWorldGame(*household_rules(), task.problem, task="do it"))
        return games[-1]

    yield made
    for game in games:
        game.close()


def test_without_the_planner_library_the_error_has_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fast_downward", None)
    with pytest.raises(ImportError) as caught:
        TextWorldGame(*household_rules(), generate("train:000000", size="small").problem)
    assert INSTALL in str(caught.value)
    assert INSTALL == 'pip install "sdar-gym[reference]"'
    assert "\n" not in str(caught.value)


def test_importing_the_module_imports_no_textworld():
    code = "import sys, sdar_envs.household.textworld_engine; assert 'textworld' not in sys.modules"
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_process_is_left_as_it_was(make: Any):
    arguments, stdout = list(sys.argv), sys.stdout
    game = make()
    game.reset()
    game.step("look")
    game.close()
    assert (sys.argv, sys.stdout) == (arguments, stdout)


def test_a_game_that_textworld_cannot_read_leaves_the_process_as_it_was_and_is_a_value_error():
    household_games.require_textworld()
    arguments, stdout = list(sys.argv), sys.stdout
    good = generate("train:000000", size="small").problem
    bad = Problem(good.name, "another", good.objects, good.init, good.goal)
    with pytest.raises(ValueError, match="TextWorld cannot read"):
        TextWorldGame(*household_rules(), bad, task="do it")
    assert (sys.argv, sys.stdout) == (arguments, stdout)


def test_games_one_after_the_other_share_a_library_and_games_at_once_do_not(make: Any, monkeypatch: Any):
    household_games.require_textworld()
    import fast_downward

    loaded: list[Any] = []
    load = fast_downward.load_lib
    monkeypatch.setattr(fast_downward, "load_lib", lambda: loaded.append(load()) or loaded[-1])
    monkeypatch.setattr("sdar_envs.household.textworld_engine._FREE_LIBRARIES", [])
    for number in range(3):
        make(number).close()
    assert len(loaded) == 1
    first, second = make(0), make(3)
    assert len(loaded) == 2
    first.reset(), second.reset()
    before = second.admissible()
    target = next(command for command in first.admissible() if command.startswith("go to"))
    first.step(target)
    assert second.admissible() == before
    assert second.step("look")[0].startswith("You are in the middle of a room.")


def test_a_closed_game_says_so_and_closes_twice(make: Any):
    game = make()
    game.reset()
    game.close()
    game.close()
    with pytest.raises(RuntimeError, match="closed"):
        game.reset()


def test_a_snapshot_is_reached_again_and_a_plan_wins(make: Any):
    game = make(0)
    game.reset()
    plan = Planner(game).plan()
    game.step(plan[0])
    here = (game.snapshot(), game.admissible(), list(game.facts("atlocation")))
    for command in plan[1:]:
        assert game.step(command)[1]
    assert game.won
    game.restore(here[0])
    assert (game.snapshot(), game.admissible(), list(game.facts("atlocation"))) == here
    assert not game.won
    assert game.holds(here[2][0])


def test_what_replaces_textworlds_evaluation_on_new_pythons_gives_the_same(make: Any):
    from textworld.envs.pddl.textgen import EvalSymbol
    from textworld.generator.game import EntityInfo

    from sdar_envs.household.textworld_engine import _derive

    info = EntityInfo("lamp_1", "object")
    info.name, info.indefinite = "lamp 1", "a"
    context = {"variables": {"o": info}}
    for expression in ("o.indefinite + ' ' + o.name", "o.name or o.id", "o"):
        (symbol,) = _derive(EvalSymbol(expression), context)
        assert str(symbol) == {"o": "lamp 1", "o.name or o.id": "lamp 1"}.get(expression, "a lamp 1")


PIECES = [
    "{r.name}", "[{r.name | p(r:t)}]", "{#x# | p(r:t)}", "{#x#}", "#x#", "text ", "\n", "\t", " ", '"q"', '"', "{", "}",
    "[", "]", "|", ";", "<", ">", "#", "// c", "\n// c\n", "\n  ", "{ r.name }", "{r.name|p(r:t)}", "[ {r.name}]",
]  # fmt: skip


def test_any_text_is_read_as_textworld_reads_it():
    """Random texts of the grammar's signs, read by TextWorld's generated parser and by ours."""
    household_games.require_textworld()
    if importlib.util.find_spec("tatsu") is None:
        pytest.skip("TextWorld's parser is not installed")
    from textworld.envs.pddl.textgen import _parse_and_convert

    rng = random.Random(0)
    compared = 0
    for _ in range(400):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 6)))
        try:
            ours = joined([shape(node) for node in read_nodes(text)])
        except GrammarError:
            continue  # an expression outside the whitelist
        assert joined([reference_shape(node) for node in _parse_and_convert(text, rule_name="symbols")]) == ours, text
        compared += 1
    assert compared > 300


Shape = tuple[Any, ...]


def shape(node: Node) -> Shape:
    match node:
        case Text(text):
            return ("text", text)
        case Symbol(name):
            return ("symbol", name)
        case Each(inner, query, listing):
            return ("each", shape(inner), query is not None, listing)
        case Value():
            return ("value",)
    raise AssertionError(node)


def reference_shape(node: Any, listing: bool = False) -> Shape:
    name = type(node).__name__
    if name == "ListSymbol":
        return reference_shape(node.symbol, True)
    if name == "ConditionalSymbol":
        inner = reference_shape(node.expression)
        # Without a query there is nothing to repeat: the symbol stands for itself.
        return ("each", inner, bool(node.given), listing) if node.given or listing else inner
    if name == "EvalSymbol":
        return ("value",)
    return ("text" if name == "TerminalSymbol" else "symbol", node.symbol)


def joined(shapes: list[Shape]) -> list[Shape]:
    """Without empty texts, and with neighbouring ones as one."""
    result: list[Shape] = []
    for item in shapes:
        if item[0] == "text" and result and result[-1][0] == "text":
            result[-1] = ("text", result[-1][1] + item[1])
        elif item != ("text", ""):
            result.append(item)
    return result
