"""TextWorldGame: the same game on TextWorld's PDDL engine, with the interface of `NativeGame`.

It is the reference that the native engine is checked against, and two orders of magnitude slower. TextWorld is imported
at first use. A command reaches it only when it is one of the admissible ones, so no agent text ever does; what it does
to ``sys.argv`` and ``sys.stdout`` is undone. A game holds a copy of the planner library until it is closed; then the
next game takes it over. (Unloading is no choice: the library leaves exit handlers, and the process would crash
at its end.)
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .domain import Domain
from .engine import MAX_COMMAND_LENGTH, NOTHING_HAPPENS
from .grammar import Grammar, substitute_task
from .names import display_names
from .problem import Fact, Problem

INSTALL = 'pip install "sdar-gym[reference]"'

_FREE_LIBRARIES: list[Any] = []  # loaded and not in use
_LOCK = threading.RLock()  # the translator works through sys.argv and sys.stdout: one game at a time


class TextWorldGame:
    """One game. Call `reset` before anything else, and `close` when done.

    Args:
        domain: As for `NativeGame`; TextWorld gets its source.
        grammar: As for `NativeGame`; TextWorld gets its source. Its expressions have passed the native whitelist, so
            nothing else of a file is evaluated by TextWorld either.
        problem: The world.
        task: The sentence that stands for the grammar's task mark, without its full stop.

    Raises:
        ImportError: TextWorld or its planner library is not installed; the message has the command that installs it.
        GrammarError: The task's sentence cannot stand in a grammar.
        ValueError: TextWorld cannot read the game.
    """

    def __init__(self, domain: Domain, grammar: Grammar, problem: Problem, *, task: str = "") -> None:
        self.domain = domain
        self.grammar = grammar
        self.problem = problem
        self.task = task
        source = substitute_task(grammar.source, task) if task else grammar.source
        game = {"pddl_domain": domain.text.source, "grammar": source, "pddl_problem": problem.to_pddl()}
        objects = {**dict(domain.text.constants), **problem.objects}
        self._names = display_names(objects, problem.init)
        make_environment = _textworld()
        with _guarded():
            self._environment: Any = make_environment()
            try:
                self._environment.load(game)
            except BaseException:
                self.close()
                raise
        for entity in self._environment._entity_infos.values():
            entity.name = self._names[entity.id]
        self._state: Any = None
        self._played: list[str] = []
        self._admissible: list[str] = []

    def reset(self) -> str:
        """Put everything back to where it was at first, and return the introduction."""
        with _guarded():
            self._state = self._open().reset()
        self._played = []
        self._admissible = list(self._state["admissible_commands"])
        return str(self._state["feedback"])

    def step(self, command: str) -> tuple[str, bool]:
        """Play one command; what is not admissible never reaches TextWorld. As `NativeGame.step`."""
        if len(command) > MAX_COMMAND_LENGTH:
            return NOTHING_HAPPENS, False
        command = command.strip()
        if command not in self._admissible:
            return NOTHING_HAPPENS, False
        with _guarded():
            self._state, _, _ = self._open().step(command)
        self._played.append(command)
        self._admissible = list(self._state["admissible_commands"])
        return str(self._state["feedback"]), True

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted."""
        return self._admissible.copy()

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        return bool(self._state["won"])

    def holds(self, fact: Fact) -> bool:
        """Whether a fact holds now."""
        return fact in self.facts(fact[0])

    def facts(self, predicate: str) -> Iterable[Fact]:
        """The facts of a predicate that hold now, sorted (TextWorld's own order varies with the hash seed)."""
        propositions = [p for p in self._state["_facts"] if p.name == predicate]
        return tuple(sorted((p.name, *[argument.name for argument in p.arguments]) for p in propositions))

    def display(self, item: str) -> str:
        """The name by which texts call an object.

        Raises:
            KeyError: No such object in this game.
        """
        return self._names[item]

    def snapshot(self) -> tuple[str, ...]:
        """The commands played so far: TextWorld cannot store a state, but it can be led there again."""
        return tuple(self._played)

    def restore(self, snapshot: tuple[str, ...]) -> None:
        """Reset and play the commands of a snapshot: slow."""
        self.reset()
        for command in snapshot:
            self.step(command)

    def close(self) -> None:
        """Hand the planner library on to the next game; a second call does nothing."""
        with _LOCK:
            if self._environment is not None:
                _FREE_LIBRARIES.append(self._environment.downward_lib)
                self._environment = None

    def __del__(self) -> None:
        if getattr(self, "_environment", None) is not None and not sys.is_finalizing():
            self.close()

    def _open(self) -> Any:
        if self._environment is None:
            raise RuntimeError("this game is closed: make a new one")
        return self._environment


def _textworld() -> Callable[[], Any]:
    """What makes an environment of TextWorld's PDDL engine, with a planner library from the free ones."""
    with _guarded():
        try:
            import fast_downward
            import textworld
            from textworld.envs.pddl import textgen
            from textworld.envs.pddl.pddl import PddlEnv
        except ImportError as error:
            raise ImportError(
                f'engine="textworld" needs TextWorld with its planner library, and one of them is missing ({error}): '
                f'install them with {INSTALL}, or use engine="native"'
            ) from error
    if sys.version_info >= (3, 13):  # TextWorld 1.7 relies on locals() being writable, which ended with Python 3.13
        textgen.EvalSymbol.derive = _derive

    def make() -> Any:
        environment = PddlEnv.__new__(PddlEnv)  # whose own constructor always loads another copy of the library
        textworld.Environment.__init__(environment, textworld.EnvInfos(won=True, admissible_commands=True))
        environment.downward_lib = _FREE_LIBRARIES.pop() if _FREE_LIBRARIES else fast_downward.load_lib()
        return environment

    return make


def _derive(symbol: Any, context: Any = None) -> list[Any]:
    """An expression's value, by the native whitelist."""
    from textworld.envs.pddl.textgen import TerminalSymbol

    from .grammar import read_expression

    value = read_expression(symbol.expression).evaluate((context or symbol.context)["variables"])
    return [TerminalSymbol(value)]


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Undo what the library does to the process, and turn its exits into errors."""
    with _LOCK:
        arguments, stdout = sys.argv, sys.stdout
        try:
            yield
        except (SystemExit, AssertionError, KeyError) as error:
            raise ValueError(f"TextWorld cannot read or play this game: {error!r}") from error
        finally:
            sys.argv, sys.stdout = arguments, stdout
