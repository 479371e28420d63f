"""The planning language of the games: s-expressions, conditions, and domains.

It reads the part of PDDL that ALFWorld's games use (typed objects, ``and``/``or``/``not``/``imply``/``exists`` in
preconditions and goals, conditional effects, action costs, which are ignored), in lower case, as Fast Downward does.
What it cannot play - quantified effects, derived predicates, ``forall`` in conditions - is refused by name with
`PDDLError`. It executes nothing; `joins.py` compiles what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

Expression = str | list["Expression"]
TypedNames = tuple[tuple[str, str], ...]  # (name, type) pairs

MAX_DEPTH = 64  # deeper nesting is refused before anything recurses over it

_TOKEN = re.compile(r"[()]|\?[^\s()?]*|[^\s()?]+")
_COMMENT = re.compile(r";[^\n]*")


class PDDLError(ValueError):
    """A domain or problem that is malformed or uses a construct the native engine does not play."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A predicate over variables (``?x``) and objects; ``=`` is the predicate of equality."""

    predicate: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    """Conjunction; true when empty."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """Disjunction; false when empty."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """Existential quantification over typed variables."""

    variables: TypedNames
    part: Condition


Condition = Atom | Not | And | Or | Exists


@dataclass(frozen=True, slots=True)
class Effect:
    """Make `atom` true or (``positive`` False) false, where `condition` held before the action."""

    atom: Atom
    positive: bool
    condition: Condition = And()


@dataclass(frozen=True, slots=True)
class ActionSchema:
    """An action with typed parameters."""

    name: str
    parameters: TypedNames
    precondition: Condition
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DomainText:
    """A domain as written: types with their parents, constants, predicates with their arity, actions, and the text."""

    name: str
    parents: dict[str, str]
    constants: TypedNames
    arity: dict[str, int]
    actions: tuple[ActionSchema, ...]
    source: str = ""


def read_expression(text: str, where: str) -> list[Expression]:
    """Read one parenthesised expression; comments dropped, everything in lower case.

    Raises:
        PDDLError: Unbalanced parentheses, text after the end, characters outside ASCII, or nesting deeper than 64.
    """
    text = _COMMENT.sub("", text)
    if not text.isascii():
        position = next(i for i, c in enumerate(text) if not c.isascii())
        raise PDDLError(f"{where}: expected ASCII outside comments, got {text[position]!r} at character {position}")
    root: list[Expression] = []
    stack = [root]
    for token in _TOKEN.findall(text.lower()):
        if token == "(":
            if len(stack) > MAX_DEPTH:
                raise PDDLError(f"{where}: expected at most {MAX_DEPTH} nested parentheses")
            inner: list[Expression] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif token == ")":
            stack.pop()
            if not stack:
                raise PDDLError(f"{where}: unexpected ')'")
        else:
            stack[-1].append(token)
    if len(stack) != 1:
        raise PDDLError(f"{where}: {len(stack) - 1} closing ')' missing at the end")
    if len(root) != 1 or not isinstance(root[0], list):
        raise PDDLError(f"{where}: expected one expression '(define ...)', got {len(root)} at top level")
    return root[0]


def show(expression: Expression, limit: int = 80) -> str:
    """The expression as text, for messages."""
    parts: list[str] = []

    def walk(node: Expression) -> None:
        if isinstance(node, str):
            parts.append(node)
        else:
            parts.append("(")
            for child in node:
                walk(child)
            parts.append(")")

    walk(expression)
    text = " ".join(parts).replace("( ", "(").replace(" )", ")")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def names_of(expression: Expression, where: str) -> list[str]:
    """The expression as a flat list of names.

    Raises:
        PDDLError: It is a name, or has a nested part.
    """
    if isinstance(expression, str) or not all(isinstance(item, str) for item in expression):
        raise PDDLError(f"{where}: expected a flat list of names, got {show(expression)}")
    return [item for item in expression if isinstance(item, str)]


def read_typed_names(items: Iterable[Expression], where: str, default: str = "object") -> TypedNames:
    """Read ``a b - type c - type``; names without a type have `default`.

    A type is taken as written: ``location,`` with a comma is another type than ``location``, and has no objects.

    Raises:
        PDDLError: A nested part (``either`` types are not played) or a ``-`` with no type after it.
    """
    names = names_of(list(items), where)
    typed: list[tuple[str, str]] = []
    waiting: list[str] = []
    stream = iter(names)
    for name in stream:
        if name != "-":
            waiting.append(name)
            continue
        kind = next(stream, None)
        if kind is None:
            raise PDDLError(f"{where}: expected a type after '-', got the end of the list")
        typed.extend((item, kind) for item in waiting)
        waiting = []
    typed.extend((item, default) for item in waiting)
    return tuple(typed)


def read_condition(expression: Expression, where: str, arity: dict[str, int] | None = None) -> Condition:
    """Read a precondition or goal.

    Args:
        expression: What `read_expression` returned for it; ``()`` is always true.
        where: Names the place in messages.
        arity: Declared predicates; None accepts any.

    Raises:
        PDDLError: A construct that is not played, an undeclared predicate, or a wrong number of arguments.
    """
    if isinstance(expression, str):
        raise PDDLError(f"{where}: expected a condition in parentheses, got {expression!r}")
    if not expression:
        return And()
    tag = expression[0]
    parts = expression[1:]
    if not isinstance(tag, str):
        raise PDDLError(f"{where}: expected a predicate or connective, got {show(expression)}")
    if tag in ("and", "or"):
        read = tuple(read_condition(part, where, arity) for part in parts)
        return And(read) if tag == "and" else Or(read)
    if tag == "not":
        _expect(len(parts) == 1, expression, where, "one part")
        return Not(read_condition(parts[0], where, arity))
    if tag == "imply":
        _expect(len(parts) == 2, expression, where, "two parts")
        return Or((Not(read_condition(parts[0], where, arity)), read_condition(parts[1], where, arity)))
    if tag == "exists":
        _expect(len(parts) == 2, expression, where, "variables and one part")
        return Exists(read_typed_names(parts[0], where), read_condition(parts[1], where, arity))
    if tag in ("forall", "when", "preference") or tag in ("<", ">", "<=", ">="):
        raise PDDLError(f"{where}: the native engine does not play '{tag}' in conditions: {show(expression)}")
    arguments = tuple(names_of(parts, where))
    if tag == "=":
        _expect(len(arguments) == 2, expression, where, "two arguments")
    elif arity is not None:
        if tag not in arity:
            raise PDDLError(f"{where}: undeclared predicate {tag!r} in {show(expression)}")
        _expect(len(arguments) == arity[tag], expression, where, f"{arity[tag]} arguments")
    return Atom(tag, arguments)


def write_condition(condition: Condition) -> str:
    """The condition as PDDL text, which `read_condition` reads back."""
    match condition:
        case Atom(predicate, arguments):
            return f"({' '.join((predicate, *arguments))})"
        case Not(part):
            return f"(not {write_condition(part)})"
        case And(parts):
            return f"(and {' '.join(map(write_condition, parts))})"
        case Or(parts):
            return f"(or {' '.join(map(write_condition, parts))})"
        case Exists(variables, part):
            typed = " ".join(f"{name} - {kind}" for name, kind in variables)
            return f"(exists ({typed}) {write_condition(part)})"


def _expect(holds: bool, expression: Expression, where: str, expected: str) -> None:
    if not holds:
        raise PDDLError(f"{where}: expected {expected}, got {show(expression)}")


def _read_effects(expression: Expression, condition: Condition, where: str, arity: dict[str, int]) -> Iterator[Effect]:
    if isinstance(expression, str):
        raise PDDLError(f"{where}: expected an effect in parentheses, got {expression!r}")
    if not expression:
        return
    tag, parts = expression[0], expression[1:]
    if tag == "and":
        for part in parts:
            yield from _read_effects(part, condition, where, arity)
    elif tag == "when":
        _expect(len(parts) == 2, expression, where, "a condition and an effect")
        inner = read_condition(parts[0], where, arity)
        yield from _read_effects(parts[1], And((condition, inner)) if condition != And() else inner, where, arity)
    elif tag in ("increase", "decrease", "assign", "scale-up", "scale-down"):
        return  # costs steer planners; they have no part in play
    elif tag == "forall":
        raise PDDLError(f"{where}: the native engine does not play 'forall' in effects: {show(expression)}")
    else:
        positive = tag != "not"
        if not positive:
            _expect(len(parts) == 1, expression, where, "one part")
        atom = read_condition(expression if positive else parts[0], where, arity)
        if not isinstance(atom, Atom) or atom.predicate == "=":
            raise PDDLError(f"{where}: expected a literal as effect, got {show(expression)}")
        yield Effect(atom, positive, condition)


def _read_action(parts: list[Expression], where: str, arity: dict[str, int]) -> ActionSchema | None:
    if not parts or not isinstance(parts[0], str):
        raise PDDLError(f"{where}: expected a name after ':action'")
    name = parts[0]
    where = f"{where}, action {name}"
    fields: dict[str, Expression] = {}
    for i in range(1, len(parts), 2):
        key = parts[i]
        if key not in (":parameters", ":precondition", ":effect") or i + 1 >= len(parts):
            raise PDDLError(f"{where}: expected :parameters, :precondition and :effect, got {show(key)}")
        fields[str(key)] = parts[i + 1]
    parameters = read_typed_names(fields.get(":parameters", []), where)
    precondition = read_condition(fields.get(":precondition", []), where, arity)
    effects = tuple(_read_effects(fields.get(":effect", []), And(), where, arity))
    known = {variable for variable, _ in parameters}
    for effect in effects:
        free = [a for a in effect.atom.arguments if a.startswith("?") and a not in known]
        if free:
            raise PDDLError(f"{where}: effect on {free[0]}, which is no parameter")
    # An action that changes nothing is dropped, as Fast Downward does.
    return ActionSchema(name, parameters, precondition, effects) if effects else None


def read_domain(text: str, where: str = "PDDL domain") -> DomainText:
    """Read a domain.

    Raises:
        PDDLError: Malformed, or a construct that is not played; the message names `where` and the construct.
    """
    expression = read_expression(text, where)
    head = expression[1] if len(expression) > 1 else []
    if expression[:1] != ["define"] or not isinstance(head, list) or len(head) != 2 or head[0] != "domain":
        raise PDDLError(f"{where}: expected '(define (domain NAME) ...)', got {show(expression)}")
    name = str(head[1])
    parents: dict[str, str] = {"object": ""}
    constants: TypedNames = ()
    arity: dict[str, int] = {}
    actions: list[ActionSchema] = []
    for section in expression[2:]:
        if isinstance(section, str) or not section or not isinstance(section[0], str):
            raise PDDLError(f"{where}: expected a section such as (:types ...), got {show(section)}")
        tag, parts = section[0], section[1:]
        if tag == ":types":
            for kind, parent in read_typed_names(parts, where):
                if kind != "object":
                    parents[kind] = parent
        elif tag == ":constants":
            constants = read_typed_names(parts, where)
        elif tag == ":predicates":
            for part in parts:
                declared = names_of(part[:1], where) if isinstance(part, list) and part else []
                if not declared:
                    raise PDDLError(f"{where}: expected a predicate declaration, got {show(part)}")
                arity[declared[0]] = len(read_typed_names(part[1:], where))
        elif tag == ":action":
            action = _read_action(parts, where, arity)
            if action is not None:
                actions.append(action)
        elif tag not in (":requirements", ":functions"):
            raise PDDLError(f"{where}: the native engine does not play section '{tag}'")
    for kind in parents:
        _check_ancestry(kind, parents, where)
    return DomainText(name, parents, constants, arity, tuple(actions), text)


def _check_ancestry(kind: str, parents: dict[str, str], where: str) -> None:
    seen = {kind}
    while (parent := parents.get(kind, "")) and parent != "object":
        if parent in seen:
            raise PDDLError(f"{where}: type {parent!r} is its own ancestor")
        seen.add(parent)
        kind = parent


@lru_cache(maxsize=256)
def _descendants(kind: str, parents: tuple[tuple[str, str], ...]) -> frozenset[str]:
    found = {kind}
    grown = True
    while grown:
        children = {child for child, parent in parents if parent in found}
        grown = not children <= found
        found |= children
    return frozenset(found)


def subtypes(kind: str, parents: dict[str, str]) -> frozenset[str]:
    """The type and everything below it; a type that was never declared has only itself."""
    return _descendants(kind, tuple(parents.items()))
