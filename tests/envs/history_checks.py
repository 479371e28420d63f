"""Whether a drawn history can be true in time."""

from __future__ import annotations

from sdar_envs.searchqa.history import CALENDARS, History
from sdar_envs.searchqa.world import Fact


def contradictions(history: History, size: str) -> list[str]:
    """Everything in a history that cannot be true in time; empty for what `Historian` draws."""
    calendar = CALENDARS[size]
    by_key = {fact.key: fact for fact in history.facts}
    found: list[str] = []

    def number(entity: int, relation: str) -> int | None:
        fact = by_key.get((entity, relation))
        return None if fact is None else fact.number

    def require(holds: bool, fact: Fact, why: str) -> None:
        if not holds:
            found.append(f"{history.entities[fact.subject].name}, {fact.relation} {fact.text}: {why}")

    for fact in history.facts:
        subject, other = history.lives.get(fact.subject), history.lives.get(-1 if fact.object is None else fact.object)
        match fact.relation:
            case "birthplace" if subject and fact.object is not None:
                require((number(fact.object, "charter") or 0) <= subject.born, fact, "the city has no charter yet")
            case "mentor" if subject and other:
                require(other.born < subject.born, fact, "the mentor is younger")
                require(other.died >= subject.born + calendar.adult // 2, fact, "the mentor is dead")
            case "spouse" if fact.object is not None:
                back = by_key.get((fact.object, "spouse"))
                require(back is not None and back.object == fact.subject, fact, "the other one is married elsewhere")
            case "school" if subject and fact.object is not None:
                year = number(fact.object, "founding")
                require(year is not None and year <= subject.born + calendar.adult, fact, "there is no school yet")
            case "mayor" if other:
                require(other.died > calendar.present, fact, "the mayor is dead")
                require(other.born + calendar.adult <= calendar.present, fact, "the mayor is a child")
            case "founder" | "creator" if other:
                year = number(fact.subject, "founding" if fact.relation == "founder" else "completion")
                require(
                    year is not None and other.born + calendar.adult <= year < other.died, fact, "not in a lifetime"
                )
            case "publisher" if fact.object is not None:
                year, founded = number(fact.subject, "completion"), number(fact.object, "founding")
                require(year is not None and founded is not None and founded <= year, fact, "no publisher yet")
            case "headquarters" if fact.object is not None:
                year, charter = number(fact.subject, "founding"), number(fact.object, "charter")
                require(year is not None and (charter is None or charter <= year), fact, "the city has no charter yet")
            case "capital" if fact.object is not None and (region := by_key.get((fact.object, "region"))):
                require(region.object == fact.subject, fact, "the capital lies in another region")
    return found
