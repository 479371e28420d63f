"""A problem: the objects of one world, what holds at first, and the goal.

Names are lower case throughout, as PDDL's own: ``("inreceptacle", "apple_1", "fridge_1")``. Generated worlds build a
`Problem` directly; official files are read by `parse_problem`. Nothing here plays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .pddl import (
    Condition,
    PDDLError,
    names_of,
    read_condition,
    read_expression,
    read_typed_names,
    show,
    write_condition,
)

Fact = tuple[str, ...]  # (predicate, argument, ...)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One world.

    Attributes:
        name: Name of the problem.
        domain_name: Name of the domain it belongs to.
        objects: Object id to PDDL type.
        init: The facts that hold at first; each fact once.
        goal: What wins.
    """

    name: str
    domain_name: str
    objects: dict[str, str]
    init: tuple[Fact, ...]
    goal: Condition = field(repr=False)

    def to_pddl(self) -> str:
        """The problem as PDDL text, which `parse_problem` and Fast Downward read."""
        by_type: dict[str, list[str]] = {}
        for item, kind in self.objects.items():
            by_type.setdefault(kind, []).append(item)
        lines = [f"(define (problem {self.name})", f"  (:domain {self.domain_name})", "  (:objects"]
        lines += [f"    {' '.join(items)} - {kind}" for kind, items in by_type.items()]
        lines += ["  )", "  (:init"]
        lines += [f"    ({' '.join(fact)})" for fact in self.init]
        lines += ["  )", f"  (:goal {write_condition(self.goal)})", ")", ""]
        return "\n".join(lines)


def parse_problem(text: str, where: str = "PDDL problem") -> Problem:
    """Read a problem.

    Raises:
        PDDLError: Malformed, or a construct that is not played; the message names `where`.
    """
    expression = read_expression(text, where)
    if expression[:1] != ["define"]:
        raise PDDLError(f"{where}: expected '(define (problem NAME) ...)', got {show(expression)}")
    name = domain_name = ""
    objects: dict[str, str] = {}
    facts: dict[Fact, None] = {}
    goal: Condition | None = None
    for section in expression[1:]:
        if isinstance(section, str) or not section or not isinstance(section[0], str):
            raise PDDLError(f"{where}: expected a section such as (:init ...), got {show(section)}")
        tag, parts = section[0], section[1:]
        if tag in ("problem", ":domain"):
            named = names_of(parts, where)
            if len(named) != 1:
                raise PDDLError(f"{where}: expected one name, got {show(section)}")
            if tag == "problem":
                name = named[0]
            else:
                domain_name = named[0]
        elif tag == ":objects":
            for item, kind in read_typed_names(parts, where):
                if objects.setdefault(item, kind) != kind:
                    raise PDDLError(f"{where}: object {item!r} is declared as {objects[item]} and as {kind}")
        elif tag == ":init":
            for part in parts:
                if isinstance(part, str) or not part:
                    raise PDDLError(f"{where}: expected a fact in parentheses, got {show(part)}")
                if part[0] in ("=", "not"):
                    continue  # numbers steer planners; what is not stated is false
                facts[tuple(names_of(part, where))] = None
        elif tag == ":goal":
            if len(parts) != 1:
                raise PDDLError(f"{where}: expected one condition in (:goal ...), got {len(parts)}")
            goal = read_condition(parts[0], f"{where}, goal")
        elif tag not in (":requirements", ":metric"):
            raise PDDLError(f"{where}: the native engine does not play section '{tag}'")
    if goal is None:
        raise PDDLError(f"{where}: expected a section (:goal ...), found none")
    return Problem(name, domain_name, objects, tuple(facts), goal)
