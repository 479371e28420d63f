"""Game files: ``game.tw-pddl``, the JSON in which ALFWorld keeps a game's domain, grammar and problem.

`read_game` reads files of any release: the wording is in the file. Whatever is wrong with a file is one `GameFileError`
of one line that names it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bounded_files import parse_json
from .domain import Domain, load_domain
from .grammar import Grammar, GrammarError, extract_task, load_grammar
from .pddl import And, Atom, Condition, Exists, Not, Or, PDDLError
from .problem import Problem, parse_problem

MAX_BYTES = 64 * 1024 * 1024  # official files have about 90 KB
_TEXTS = ("pddl_domain", "grammar", "pddl_problem")


class GameFileError(ValueError):
    """A game file that cannot be played; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class GameFile:
    """A game as read.

    Attributes:
        path: Where it came from.
        domain: Compiled, shared by all files with the same text.
        grammar: Compiled with the task mark in place of the sentence, and shared likewise.
        problem: The world.
        task: The sentence, without its full stop; "" when the grammar has none or an unusual one.
        solvable: The file's own mark, None when it has none.
        walkthrough: The file's own solution, if any.
    """

    path: Path
    domain: Domain
    grammar: Grammar
    problem: Problem
    task: str
    solvable: bool | None
    walkthrough: tuple[str, ...] | None


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        GameFileError: Not readable, too large, not UTF-8, truncated, or not an object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise GameFileError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GameFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, GameFileError):
            raise
        raise GameFileError(f"{path}: expected JSON, and it is broken or cut short: {error}") from error
    if not isinstance(data, dict):
        raise GameFileError(f"{path}: expected a JSON object, got {type(data).__name__}")
    return data


def read_game(path: str | os.PathLike[str]) -> GameFile:
    """Read a game file.

    Raises:
        GameFileError: The file is unreadable or malformed, or uses a construct that the native engine does not play.
    """
    file = Path(path)
    data = load_json(file)
    for key in _TEXTS:
        if not isinstance(data.get(key), str):
            got = f"a {type(data[key]).__name__}" if key in data else f"only {', '.join(sorted(data)) or 'nothing'}"
            raise GameFileError(f"{file}: expected a text under {key!r}, got {got}")
    source, task = extract_task(data["grammar"])
    try:
        domain = load_domain(data["pddl_domain"])
        grammar = load_grammar(source)
        problem = parse_problem(data["pddl_problem"])
        check_problem(problem, domain)
    except (PDDLError, GrammarError) as error:
        raise GameFileError(f"{file}: {error}") from error
    walkthrough = data.get("walkthrough")
    return GameFile(
        path=file,
        domain=domain,
        grammar=grammar,
        problem=problem,
        task=task,
        solvable=data["solvable"] if isinstance(data.get("solvable"), bool) else None,
        walkthrough=tuple(map(str, walkthrough)) if isinstance(walkthrough, list) else None,
    )


def check_problem(problem: Problem, domain: Domain) -> None:
    """Check a problem against its domain.

    Raises:
        PDDLError: Another domain's problem, an unknown type, a fact with a wrong number of arguments or about an
            undeclared object, or a goal with an undeclared predicate. (Undeclared predicates among the facts are
            nobody's concern, and occur.)
    """
    if problem.domain_name != domain.name:
        raise PDDLError(f"PDDL problem: expected domain {domain.name!r}, got {problem.domain_name!r}")
    text = domain.text
    for item, kind in problem.objects.items():
        if kind not in text.parents:
            raise PDDLError(f"PDDL problem: object {item!r} has unknown type {kind!r}")
    known = problem.objects.keys() | dict(text.constants).keys()
    for fact in problem.init:
        if text.arity.get(fact[0], len(fact) - 1) != len(fact) - 1:
            raise PDDLError(f"PDDL problem: expected {text.arity[fact[0]]} arguments in ({' '.join(fact)[:80]})")
        for item in fact[1:]:
            if item not in known:
                raise PDDLError(f"PDDL problem: ({' '.join(fact)[:80]}) is about {item!r}, which is no object")
    for atom in _atoms(problem.goal):
        if atom.predicate != "=" and text.arity.get(atom.predicate) != len(atom.arguments):
            raise PDDLError(f"PDDL problem: the goal has an undeclared or wrongly used predicate {atom.predicate!r}")


def _atoms(goal: Condition) -> list[Atom]:
    match goal:
        case Atom():
            return [goal]
        case Not(part) | Exists(_, part):
            return _atoms(part)
        case And(parts) | Or(parts):
            return [atom for part in parts for atom in _atoms(part)]
