"""The text grammar of the games (TextWorld's ``twl2``): what the player reads when something happens.

A file has production rules (JSON inside ``grammar :: ...``) and actions, each with the template of its command and the
symbol of its feedback. `read_grammar` compiles a file once; `text.py` derives text from the result. Expressions such as
``o.indefinite + ' ' + o.name`` are compiled by a whitelist over names, three attributes, string literals, ``+``, ``or``
and ``and``: nothing in a file is ever executed.

TextWorld's reading habits are kept, because texts depend on them: white space at the start of a rule is eaten, tabs
between symbols too, a text ends at the first character that its grammar has no symbol for, and later rules of the same
name replace earlier ones. Reader, compiler and whitelist stay in one file: each is small, and all are about one format.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..bounded_files import parse_json

# The mark that stands for the task's sentence until a game is begun; ALFWorld's grammars use the same.
TASK_MARK = "UNKNOWN GOAL"

_DOCUMENT_TOKEN = re.compile(
    r'(?P<skip>\s+|\#[^\n]*)|(?P<block>"""(?:.|\n)*?""")|(?P<string>"[^"]*")|(?P<name>[\w/-]+)|(?P<sign>::|[;{}])'
)
_LITERAL = re.compile(r'[^;|"<>\[\]#{}]+')
_SYMBOL = re.compile(r"#([\w()/!<>\-\s,.]+)#")
_CONDITIONAL = re.compile(r"\{(?:\s*#([\w()/!<>\-\s,.]+)#|([^|\[\]{}\n<>]+?))\s*(?:\|\s*([^;|{}\n\[\]#]+))?\}")
_LINE_START = re.compile(r"//[^\n]*\n?|\s+")
_QUERY_ATOM = re.compile(r"\s*(!?[\w/]+)\s*\(([^()]*)\)\s*")
_PLACEHOLDER = re.compile(r"\s*([\w']+)\s*(?::\s*([\w/-]+)\s*)?$")
_TASK_SENTENCE = re.compile(r'"Your task is to: ([^"\\;|<>\[\]#{}]+)\."')

_ATTRIBUTES = ("name", "id", "indefinite", "definite", "type")


class GrammarError(ValueError):
    """A grammar that is malformed, or that asks for what the native engine does not do."""


Placeholder = tuple[str, str]  # (name, type)


@dataclass(frozen=True, slots=True)
class Entity:
    """What an expression sees of an object."""

    id: str
    name: str
    type: str
    definite: str = "the"
    indefinite: str = "a"


Evaluate = Callable[[Mapping[str, Entity]], Any]


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Task:
    """The place of the task's sentence."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """Derive another rule here."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an expression; `variable` is set when it is just a variable's display name."""

    evaluate: Evaluate
    variable: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A conjunction of atoms over placeholders; distinct placeholders stand for distinct objects."""

    atoms: tuple[tuple[str, tuple[Placeholder, ...]], ...]

    @property
    def predicates(self) -> frozenset[str]:
        """What the query reads."""
        return frozenset(predicate for predicate, _ in self.atoms)


@dataclass(frozen=True, slots=True, eq=False)
class Each:
    """`node` for every answer of `query` (once without a query); as an enumeration when `listing`."""

    node: Symbol | Value
    query: Query | None
    listing: bool


Node = Text | Task | Symbol | Value | Each


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One way to derive a symbol, possible when `condition` has an answer."""

    nodes: tuple[Node, ...]
    condition: Query | None


@dataclass(frozen=True, slots=True, eq=False)
class ActionText:
    """Command template and feedback of an action."""

    template: tuple[Node, ...]
    feedback: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """A compiled grammar: rules by symbol, action texts by lower-case action name, and the text it came from."""

    rules: dict[str, tuple[Rule, ...]]
    actions: dict[str, ActionText]
    source: str = ""


def extract_task(text: str) -> tuple[str, str]:
    """Put the task mark back into a game's own grammar, and return the sentence that stood there.

    Every official file embeds the same grammar with another sentence; with the mark back in place they compile once.
    A grammar without exactly one plain sentence is returned as it is, with ``""``.
    """
    found = _TASK_SENTENCE.findall(text)
    if len(found) != 1 or found[0] == TASK_MARK:
        return text, ""
    return _TASK_SENTENCE.sub(f'"Your task is to: {TASK_MARK}."', text), found[0]


def substitute_task(text: str, sentence: str) -> str:
    """The grammar of one game: `sentence` in the place of the mark.

    Raises:
        GrammarError: The sentence has a character that the grammar's literals cannot hold.
    """
    if not _LITERAL.fullmatch(sentence) or "\\" in sentence or "\n" in sentence:
        raise GrammarError(f'a task sentence cannot hold any of ; | " < > [ ] # {{ }} \\ or line breaks: {sentence!r}')
    return text.replace(TASK_MARK, sentence)


def load_grammar(text: str, where: str = "grammar") -> Grammar:
    """`read_grammar`, once per content.

    Raises:
        GrammarError: As `read_grammar`.
    """
    try:
        return _load(text)
    except GrammarError as error:
        raise GrammarError(f"{where}: {error}") from error


@lru_cache(maxsize=32)
def _load(text: str) -> Grammar:
    return read_grammar(text)


def read_grammar(text: str) -> Grammar:
    """Compile a grammar file.

    Raises:
        GrammarError: What was expected, and what stands there.
    """
    rules: dict[str, tuple[Rule, ...]] = {}
    actions: dict[str, ActionText] = {}
    tokens = _tokens(text)
    while tokens:
        kind, value = tokens.pop()
        if (kind, value) == ("name", "grammar"):
            rules.update(_read_rules(_field(tokens, "block")))
        elif (kind, value) == ("name", "action"):
            name = _take(tokens, "name")
            _take(tokens, "sign", "{")
            template = feedback = None
            while tokens and tokens[-1] != ("sign", "}"):
                key = _take(tokens, "name")
                if key == "template":
                    template = read_nodes(_field(tokens, "string"))
                elif key == "feedback":
                    feedback = read_nodes(_field(tokens, "string"))
                elif key == "grammar":
                    # Lines that begin with '#' are comments in the grammar of an action (and only there).
                    lines = _field(tokens, "block").split("\n")
                    rules.update(_read_rules("\n".join(x for x in lines if not x.lstrip().startswith("#"))))
                elif key == "pddl":
                    _field(tokens, "block")
                else:
                    raise GrammarError(f"action {name}: expected template, feedback, grammar or pddl, got {key!r}")
            _take(tokens, "sign", "}")
            if template is None or feedback is None:
                raise GrammarError(f"action {name}: expected a template and a feedback")
            actions[name.lower()] = ActionText(template, feedback)
        else:
            raise GrammarError(f"expected 'grammar' or 'action', got {value[:40]!r}")
    return Grammar(rules, actions, text)


def meaning(text: str) -> list[Any]:
    """What a grammar file says without its comments and its layout, as JSON values: names, signs, texts and rules.

    Raises:
        GrammarError: The file cannot be taken apart, or its rules are not JSON.
    """
    parts: list[Any] = []
    for kind, value in reversed(_tokens(text)):
        try:
            parts.append(parse_json(value[3:-3]) if kind == "block" else value)
        except ValueError as error:
            raise GrammarError(f"production rules are expected to be JSON: {error}") from error
    return parts


def _tokens(text: str) -> list[tuple[str, str]]:
    """The document's tokens, last first."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _DOCUMENT_TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise GrammarError(f"line {line}: unexpected {text[position : position + 20]!r}")
        position = match.end()
        if match.lastgroup != "skip":
            tokens.append((str(match.lastgroup), match.group()))
    tokens.reverse()
    return tokens


def _take(tokens: list[tuple[str, str]], kind: str, value: str | None = None) -> str:
    got = tokens.pop() if tokens else ("end", "the end of the file")
    if got[0] != kind or value not in (None, got[1]):
        raise GrammarError(f"expected {value or kind}, got {got[1][:40]!r}")
    return got[1]


def _field(tokens: list[tuple[str, str]], kind: str) -> str:
    _take(tokens, "sign", "::")
    quoted = _take(tokens, kind)
    _take(tokens, "sign", ";")
    return quoted[3:-3] if kind == "block" else quoted[1:-1]


def _read_rules(block: str) -> dict[str, tuple[Rule, ...]]:
    try:
        data = parse_json(block)
    except ValueError as error:
        raise GrammarError(f"production rules are expected to be JSON: {error}") from error
    if not isinstance(data, dict):
        raise GrammarError(f"production rules are expected to be a JSON object, got {type(data).__name__}")
    rules = {}
    for name, alternatives in data.items():
        if not isinstance(alternatives, list) or not alternatives:
            raise GrammarError(f"rule {name!r}: expected a list of alternatives")
        read = []
        for alternative in alternatives:
            if not isinstance(alternative, dict) or not isinstance(alternative.get("rhs"), str):
                raise GrammarError(f"rule {name!r}: expected an object with a text under 'rhs'")
            condition = alternative.get("condition") or None
            if condition is not None and not isinstance(condition, str):
                raise GrammarError(f"rule {name!r}: expected a text under 'condition'")
            try:
                read.append(Rule(read_nodes(alternative["rhs"]), read_query(condition) if condition else None))
            except GrammarError as error:
                raise GrammarError(f"rule {name!r}: {error}") from error
        rules[name] = tuple(read)
    return rules


def read_nodes(text: str) -> tuple[Node, ...]:
    """Compile the right-hand side of a rule, a template, or a feedback.

    Raises:
        GrammarError: An expression or a query outside the whitelist.
    """
    nodes: list[Node] = []
    position = 0
    while True:
        position = _skip(text, position)
        if match := _LITERAL.match(text, position):
            literal = match.group()
        elif text.startswith('"', position) and (end := text.find('"', position + 1)) > 0:
            literal = text[position + 1 : end]
            if literal and not _LITERAL.fullmatch(literal):
                return tuple(nodes)
            nodes += _literal_nodes(literal)
            position = end + 1
            continue
        elif match := _SYMBOL.match(text, position):
            nodes.append(Symbol(match.group(1)))
            position = match.end()
            continue
        else:
            listing = text.startswith("[", position)
            match = _CONDITIONAL.match(text, position + listing)
            if match is None or (listing and not text.startswith("]", match.end())):
                return tuple(nodes)  # the end, or what TextWorld's reader stops at
            symbol, expression, query = match.groups()
            node = Symbol(symbol) if symbol else read_expression(expression)
            if query is None and not listing:
                nodes.append(node)
            else:
                nodes.append(Each(node, read_query(query) if query else None, listing))
            position = match.end() + listing
            continue
        nodes += _literal_nodes(literal)
        position = match.end()


def _skip(text: str, position: int) -> int:
    while position < len(text):
        if (position == 0 or text[position - 1] == "\n") and (match := _LINE_START.match(text, position)):
            position = match.end()
        elif text[position] == "\t":
            position += 1
        else:
            break
    return position


def _literal_nodes(literal: str) -> list[Node]:
    nodes: list[Node] = []
    for i, part in enumerate(literal.split(TASK_MARK)):
        if i:
            nodes.append(Task())
        if part:
            nodes.append(Text(part))
    return nodes


def read_query(text: str) -> Query:
    """Compile ``p(a:type, b) & q(b)``; a placeholder without a type has its own name as type.

    Raises:
        GrammarError: Not of that form.
    """
    atoms = []
    for part in text.split("&"):
        match = _QUERY_ATOM.fullmatch(part)
        if match is None:
            raise GrammarError(f"expected a query such as p(a:type) & q(a:type, b:type), got {text!r}")
        placeholders = []
        for argument in match.group(2).split(",") if match.group(2).strip() else []:
            named = _PLACEHOLDER.match(argument)
            if named is None:
                raise GrammarError(f"expected a placeholder such as a:type, got {argument!r} in {text!r}")
            placeholders.append((named.group(1), named.group(2) or named.group(1).rstrip("'")))
        atoms.append((match.group(1), tuple(placeholders)))
    return Query(tuple(atoms))


def read_expression(text: str) -> Value:
    """Compile an expression from the whitelist.

    Raises:
        GrammarError: Anything else; the message names it.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= 400 else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        raise GrammarError(f"not a short expression: {text[:60]!r}")
    body = tree.body
    variable = None
    if isinstance(body, ast.Name):
        variable = body.id
    elif isinstance(body, ast.Attribute) and isinstance(body.value, ast.Name) and body.attr == "name":
        variable = body.value.id
    return Value(_compile(body, text), variable)


def _compile(node: ast.expr, text: str) -> Evaluate:
    match node:
        case ast.Constant(value=str() as constant):
            return lambda variables: constant
        case ast.Name(id=name):
            return lambda variables: variables[name]
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if attribute in _ATTRIBUTES:
            return lambda variables: getattr(variables[name], attribute)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _compile(left, text), _compile(right, text)
            return lambda variables: first(variables) + second(variables)
        case ast.BoolOp(op=ast.Or(), values=values):
            options = [_compile(value, text) for value in values]
            return lambda variables: next((v for option in options if (v := option(variables))), "")
        case ast.BoolOp(op=ast.And(), values=values):
            needed = [_compile(value, text) for value in values]
            return lambda variables: needed[-1](variables) if all(v(variables) for v in needed[:-1]) else ""
    raise GrammarError(f"expressions are variables, .{', .'.join(_ATTRIBUTES)}, texts, +, or, and; got {text[:60]!r}")
