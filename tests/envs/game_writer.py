"""Game files as ALFWorld's are, written from any problem: `read_game` and ALFWorld's own loaders read them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sdar_envs.files import write_file
from sdar_envs.household.domain import Domain
from sdar_envs.household.grammar import Grammar, substitute_task
from sdar_envs.household.pddl import And, Atom, Condition, Exists, Not, Or, PDDLError
from sdar_envs.household.problem import Problem


def write_game(
    path: str | os.PathLike[str],
    domain: Domain,
    grammar: Grammar,
    problem: Problem,
    *,
    task: str,
    walkthrough: Sequence[str] | None = None,
    solvable: bool = True,
) -> Path:
    """Write a game file that TextWorld, ALFWorld and `read_game` load. An existing file is replaced as a whole.

    Loaders of ALFWorld make display names from mangled ids: pass ``with_mangled_ids(problem)`` to have them say
    ``cabinet 1`` too.

    Args:
        path: The file to write; its folder is made.
        domain: Its source text is embedded.
        grammar: Its source text is embedded, with `task` in the place of the task mark.
        problem: The world.
        task: The sentence, without its full stop.
        walkthrough: A solution to store.
        solvable: The mark that ALFWorld's loaders ask for.

    Raises:
        GrammarError: The sentence cannot stand in a grammar.
        OSError: The file cannot be written.
    """
    file = Path(path)
    data = {
        "pddl_domain": domain.text.source,
        "grammar": substitute_task(grammar.source, task),
        "pddl_problem": problem.to_pddl(),
        "solvable": solvable,
        "walkthrough": list(walkthrough) if walkthrough is not None else None,
    }
    write_file(file, json.dumps(data, ensure_ascii=False))
    return file


def with_mangled_ids(problem: Problem) -> Problem:
    """The same world with ids from which ALFWorld's own loader makes the same display names.

    That loader sorts the ids of a kind and numbers them from the count down to 1. Texts then list things in the order
    of these ids, which is not that of ours.
    """
    counts: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    numbered = [item for item, kind in problem.objects.items() if kind in ("receptacle", "object")]
    for item in numbered:
        counts[item.rpartition("_")[0]] += 1
    for item in numbered:
        kind, _, number = item.rpartition("_")
        if not kind or not number.isdigit() or not 1 <= int(number) <= counts[kind]:
            raise PDDLError(f"object {item!r} is expected to be called like cabinet_1, numbered from 1 without gaps")
        head, tail = (kind.removesuffix("basin"), f"_bar_{kind}") if kind.endswith("basin") else (kind, "")
        renamed[item] = f"{head}_bar_{counts[kind] - int(number):04d}{tail}"

    def rename(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(renamed.get(item, item) for item in items)

    return Problem(
        problem.name,
        problem.domain_name,
        {renamed.get(item, item): kind for item, kind in problem.objects.items()},
        tuple((fact[0], *rename(fact[1:])) for fact in problem.init),
        _renamed(problem.goal, renamed),
    )


def _renamed(goal: Condition, names: dict[str, str]) -> Condition:
    match goal:
        case Atom(predicate, arguments):
            return Atom(predicate, tuple(names.get(a, a) for a in arguments))
        case Not(part):
            return Not(_renamed(part, names))
        case Exists(variables, part):
            return Exists(variables, _renamed(part, names))
        case And(parts):
            return And(tuple(_renamed(part, names) for part in parts))
        case Or(parts):
            return Or(tuple(_renamed(part, names) for part in parts))
