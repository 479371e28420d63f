"""NativeGame: plays a game of domain, grammar and problem in plain Python.

It does what TextWorld's PDDL engine does, to the letter of the text and the order of the commands, without its planner
library: same feedback, same admissible commands, same goal test. Known differences: the native engine refuses the
constructs that `pddl.py` names, and where two actions have the same command it takes the first declared with the
smallest arguments, while Fast Downward's order is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain

from ..assets import asset_text
from .domain import Domain, Grounding, load_domain
from .facts import FactStore
from .grammar import Each, Entity, Grammar, GrammarError, Node, Symbol, Text, Value, load_grammar
from .names import display_names
from .problem import Fact, Problem
from .text import Bindings, Narrator

NOTHING_HAPPENS = "Nothing happens."
MAX_COMMAND_LENGTH = 512  # no command is longer; longer text is not looked up
MAX_MEMO_FACTS = 4  # an action's commands are remembered while at most this many facts decide them
MAX_MEMO_ENTRIES = 256

Snapshot = frozenset[Fact]

_NOTHING: tuple[tuple[str, ...], dict[str, Grounding]] = ((), {})


@cache
def household_rules() -> tuple[Domain, Grammar]:
    """The domain and grammar of the generated household, compiled once."""
    return (
        load_domain(asset_text("household", "domain.pddl"), "assets/household/domain.pddl"),
        load_grammar(asset_text("household", "grammar.twl2"), "assets/household/grammar.twl2"),
    )


class NativeGame:
    """One game. Call `reset` before anything else; play may go on after the game is won.

    Args:
        domain: From `load_domain` or `household_rules`.
        grammar: From `load_grammar` or `household_rules`.
        problem: The world. It is not changed.
        task: The sentence that stands for the grammar's task mark, without its full stop.

    Raises:
        PDDLError: The goal uses a construct that is not played.
        GrammarError: An action of the domain has no text.
    """

    def __init__(self, domain: Domain, grammar: Grammar, problem: Problem, *, task: str = "") -> None:
        self.domain = domain
        self.grammar = grammar
        self.problem = problem
        self.task = task
        objects = problem.objects
        if domain.text.constants:
            objects = {**dict(domain.text.constants), **objects}
        self._store = store = FactStore(objects, problem.init)
        self._names = display_names(objects, problem.init)
        self._entities = _Entities(self._names, objects)
        self._narrator = Narrator(grammar, store, self._entities, domain.text.parents, task)
        self._actions = domain.actions(store)
        self._goal = domain.goal(problem.goal, store)
        missing = next((a.name for a in self._actions if a.name not in grammar.actions), None)
        if missing is not None:
            raise GrammarError(f"expected a template and a feedback for action {missing!r}, found none")
        self._texts = [grammar.actions[action.name] for action in self._actions]
        pairs = list(zip(self._actions, self._texts, strict=True))
        self._templates = [_short_template(text.template, action.parameters) for action, text in pairs]
        # A command that depends on unchanging facts alone is made once per grounding.
        self._is_fixed = [_is_fixed(text.template, domain.dynamic) for text in self._texts]
        count = len(self._actions)
        self._known: list[dict[Grounding, str]] = [{} for _ in range(count)]
        self._memo: list[dict[frozenset[Fact], tuple[tuple[str, ...], dict[str, Grounding]]]] = [
            {} for _ in range(count)
        ]
        self._offers = [_NOTHING] * count
        self._stale = set(range(count))
        self._listed: list[str] | None = None
        self._won: bool | None = None
        self._sorted_facts: dict[str, tuple[Fact, ...]] = {}
        self._start = self.snapshot()

    def reset(self) -> str:
        """Put everything back to where it was at first, and return the introduction."""
        self.restore(self._start)
        return self._narrator.say((Symbol("intro"),), {})

    def step(self, command: str) -> tuple[str, bool]:
        """Play one command.

        Returns:
            The feedback, and whether the command was one of the admissible ones. Any other text, of any kind and
            length, changes nothing and is answered with "Nothing happens."
        """
        if len(command) <= MAX_COMMAND_LENGTH:
            command = command.strip()
            self._refresh()
            for number, (_, groundings) in enumerate(self._offers):
                grounding = groundings.get(command)
                if grounding is not None:
                    self._apply(number, grounding)
                    return self._narrator.say(self._texts[number].feedback, self._bindings(number, grounding)), True
        return NOTHING_HAPPENS, False

    def admissible(self) -> list[str]:
        """The commands that do something now, sorted."""
        self._refresh()
        if self._listed is None:
            # Each action's commands are sorted already, and sorting joins sorted runs quickly.
            merged = sorted(chain.from_iterable([commands for commands, _ in self._offers]))
            self._listed = list(dict.fromkeys(merged))
        return self._listed.copy()

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        if self._won is None:
            self._won = self._goal.holds(self._store)
        return self._won

    def holds(self, fact: Fact) -> bool:
        """Whether a fact, in the ids of the problem and in lower case, holds now."""
        return fact in self._store.facts

    def facts(self, predicate: str) -> Iterable[Fact]:
        """The facts of a predicate that hold now, sorted."""
        found = self._sorted_facts.get(predicate)
        if found is None:
            found = self._sorted_facts[predicate] = tuple(sorted(self._store.of_predicate(predicate)))
        return found

    def display(self, item: str) -> str:
        """The name by which texts call an object.

        Raises:
            KeyError: No such object in this game.
        """
        return self._names[item]

    def snapshot(self) -> Snapshot:
        """The state, as the set of the facts that can change; equal states have equal snapshots.

        Facts whose predicate begins with ``not_`` record that something was undone. They matter to some texts only, so
        that a search may leave them (and ``checked``) out of its own notion of equality.
        """
        store = self._store
        dynamic = self.domain.dynamic
        return frozenset(
            chain.from_iterable(
                store.of_predicate(name) for predicate in dynamic for name in (predicate, f"not_{predicate}")
            )
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, or over, to a state of this game."""
        now = self.snapshot()
        self._change(now - snapshot, snapshot - now)

    def close(self) -> None:
        """Nothing to release; here so that both engines close alike."""

    def _apply(self, number: int, grounding: Grounding) -> None:
        added, deleted = self._actions[number].effects(self._store, grounding)
        negated = [(f"not_{fact[0]}", *fact[1:]) for fact in deleted]
        denied = [(f"not_{fact[0]}", *fact[1:]) for fact in added]
        self._change([*deleted, *denied], [*added, *negated])

    def _change(self, gone: Iterable[Fact], come: Iterable[Fact]) -> None:
        store = self._store
        changed = {fact[0] for fact in gone if store.discard(fact)}
        changed.update([fact[0] for fact in come if store.add(fact)])
        if not changed:
            return
        for predicate in changed:
            self._sorted_facts.pop(predicate, None)
        self._stale.update(
            [number for number, action in enumerate(self._actions) if not action.reads.isdisjoint(changed)]
        )
        if not self._goal.reads.isdisjoint(changed):
            self._won = None

    def _refresh(self) -> None:
        """Bring the offered commands up to date, recomputing only actions whose predicates changed."""
        if not self._stale:
            return
        for number in self._stale:
            offer = self._offer(number)
            if offer is not self._offers[number]:
                self._offers[number] = offer
                self._listed = None
        self._stale.clear()

    def _offer(self, number: int) -> tuple[tuple[str, ...], dict[str, Grounding]]:
        action, store = self._actions[number], self._store
        deciding = list(chain.from_iterable([store.of_predicate(predicate) for predicate in action.reads]))
        key = frozenset(deciding) if len(deciding) <= MAX_MEMO_FACTS else None
        memo = self._memo[number]
        if key is not None and key in memo:
            return memo[key]
        offers: dict[str, Grounding] = {}
        for grounding in action.applicable(store):
            command = self._command(number, grounding)
            taken = offers.get(command)
            if taken is None or grounding < taken:
                offers[command] = grounding
        offer = (tuple(sorted(offers)), offers) if offers else _NOTHING
        if key is not None and self._is_fixed[number]:
            if len(memo) >= MAX_MEMO_ENTRIES:
                memo.clear()
            memo[key] = offer
        return offer

    def _command(self, number: int, grounding: Grounding) -> str:
        known = self._known[number]
        command = known.get(grounding)
        if command is None:
            template = self._templates[number]
            if template is None:
                command = self._narrator.say(self._texts[number].template, self._bindings(number, grounding))
                if not self._is_fixed[number]:
                    return command
            else:
                command = "".join([p if isinstance(p, str) else self._names[grounding[p]] for p in template])
            known[grounding] = command
        return command

    def _bindings(self, number: int, grounding: Grounding) -> Bindings:
        return dict(zip(self._actions[number].parameters, grounding, strict=True))


class _Entities(dict[str, Entity]):
    """Entities by id, made when a text first speaks of them."""

    def __init__(self, names: Mapping[str, str], types: Mapping[str, str]) -> None:
        super().__init__()
        self._names, self._types = names, types

    def __missing__(self, item: str) -> Entity:
        entity = self[item] = Entity(item, self._names[item], self._types[item])
        return entity


def _short_template(nodes: tuple[Node, ...], parameters: tuple[tuple[str, str], ...]) -> tuple[str | int, ...] | None:
    """A template of texts and parameters alone, as texts and parameter numbers; None for any other."""
    order = {name: i for i, (name, _) in enumerate(parameters)}
    parts: list[str | int] = []
    for node in nodes:
        if isinstance(node, Text):
            parts.append(node.text)
        elif isinstance(node, Value) and node.variable in order:
            parts.append(order[node.variable])
        else:
            return None
    return tuple(parts)


def _is_fixed(nodes: tuple[Node, ...], dynamic: frozenset[str]) -> bool:
    """Whether a template says the same of the same objects, whatever happens."""
    for node in nodes:
        if isinstance(node, Symbol):
            return False
        if isinstance(node, Each):
            if isinstance(node.node, Symbol) or (node.listing and node.query is None):
                return False
            if node.query and any(p.removeprefix("not_") in dynamic for p in node.query.predicates):
                return False
    return True
