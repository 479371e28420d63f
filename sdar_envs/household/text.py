"""Deriving text from a compiled grammar and the facts that hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .facts import FactStore, index_name
from .grammar import Each, Entity, Grammar, GrammarError, Node, Placeholder, Query, Symbol, Task, Text
from .pddl import subtypes

MAX_SYMBOLS = 32  # nested symbols; a grammar that derives itself is refused at this depth

Bindings = dict[Placeholder, str]


class Narrator:
    """Says what a grammar says about a world.

    Args:
        grammar: Compiled grammar.
        store: The facts.
        entities: What expressions see of each object.
        parents: The domain's types.
        task: The sentence that stands for the task mark.
    """

    def __init__(
        self,
        grammar: Grammar,
        store: FactStore,
        entities: Mapping[str, Entity],
        parents: dict[str, str],
        task: str,
    ) -> None:
        self._rules = grammar.rules
        self._store = store
        self._entities = entities
        self._parents = parents
        self._kinds: dict[str, frozenset[str]] = {}
        self._task = task

    def say(self, nodes: Sequence[Node], bindings: Bindings) -> str:
        """Derive text; `bindings` are the parameters of the action it is about.

        Raises:
            GrammarError: The grammar asks for a rule or a variable that is not there, or derives itself.
        """
        out: list[str] = []
        variables = {name: self._entities[item] for (name, _), item in bindings.items()}
        self._derive(nodes, bindings, variables, out, 0)
        return "".join(out)

    def _derive(
        self, nodes: Sequence[Node], bindings: Bindings, variables: Mapping[str, Entity], out: list[str], depth: int
    ) -> None:
        for node in nodes:
            match node:
                case Text(text):
                    out.append(text)
                case Task():
                    out.append(self._task)
                case Symbol(name):
                    self._symbol(name, bindings, variables, out, depth)
                case Each():
                    self._each(node, bindings, variables, out, depth)
                case _:
                    try:
                        value = node.evaluate(variables)
                    except (KeyError, TypeError) as error:
                        raise GrammarError(f"an expression asks for a variable that is not bound: {error}") from error
                    out.append(value.name if isinstance(value, Entity) else str(value))

    def _symbol(
        self, name: str, bindings: Bindings, variables: Mapping[str, Entity], out: list[str], depth: int
    ) -> None:
        if depth >= MAX_SYMBOLS:
            raise GrammarError(f"rule {name!r} nests more than {MAX_SYMBOLS} symbols")
        for rule in self._rules.get(name, ()):
            if rule.condition is None or next(self._answers(rule.condition, bindings), None) is not None:
                self._derive(rule.nodes, bindings, variables, out, depth + 1)
                return
        raise GrammarError(f"no rule applies for symbol #{name}#")

    def _each(
        self, each: Each, bindings: Bindings, variables: Mapping[str, Entity], out: list[str], depth: int
    ) -> None:
        items: list[tuple[Bindings, Mapping[str, Entity]]] = []
        if each.query is None:
            items.append((bindings, variables))
        else:
            for answer in self._answers(each.query, bindings):
                named = {name: self._entities[item] for (name, _), item in answer.items()}
                items.append((answer, {**variables, **named}))
        nodes = (each.node,)
        last = len(items) - 1
        if each.listing and not items:
            self._symbol("list_empty", bindings, variables, out, depth)
        for i, (inner, names) in enumerate(items):
            if each.listing and i:
                separator = "list_last_separator" if i == last else "list_separator"
                self._symbol(separator, bindings, variables, out, depth)
            self._derive(nodes, inner, names, out, depth)

    def _answers(self, query: Query, bindings: Bindings) -> Iterator[Bindings]:
        """Bindings that extend `bindings` and make every atom a fact, in the order of the sorted facts."""
        yield from self._match(query.atoms, 0, bindings, frozenset(bindings.values()))

    def _match(
        self,
        atoms: tuple[tuple[str, tuple[Placeholder, ...]], ...],
        depth: int,
        bindings: Bindings,
        used: frozenset[str],
    ) -> Iterator[Bindings]:
        if depth == len(atoms):
            yield bindings
            return
        predicate, placeholders = atoms[depth]
        types = self._store.types
        for fact in self._candidates(predicate, placeholders, bindings):
            if len(fact) != len(placeholders) + 1:
                continue
            extended, taken = bindings, used
            for placeholder, value in zip(placeholders, fact[1:], strict=True):
                if types.get(value) not in self._subtypes(placeholder[1]):
                    break
                existing = extended.get(placeholder)
                if existing is None:
                    if value in taken:
                        break
                    extended, taken = {**extended, placeholder: value}, taken | {value}
                elif existing != value:
                    break
            else:
                yield from self._match(atoms, depth + 1, extended, taken)

    def _subtypes(self, kind: str) -> frozenset[str]:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = subtypes(kind, self._parents)
        return found

    def _candidates(
        self, predicate: str, placeholders: tuple[Placeholder, ...], bindings: Bindings
    ) -> list[tuple[str, ...]]:
        positions = tuple(i for i, placeholder in enumerate(placeholders, start=1) if placeholder in bindings)
        if not positions:
            return sorted(self._store.of_predicate(predicate))
        if len(positions) == len(placeholders):
            fact = (predicate, *[bindings[placeholder] for placeholder in placeholders])
            return [fact] if fact in self._store.facts else []
        key = tuple([bindings[placeholders[i - 1]] for i in positions])
        index = self._store.index(index_name(predicate, positions), predicate, positions)
        return sorted(index.get(key[0] if len(key) == 1 else key, ()))
