"""One item of the audit: what is wrong, how large it is, what is done here instead, and who has met it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# A part of a key of counted draws.
KeyPart = int | str


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as the protocol makes it, and as the fixed form does.

    Attributes:
        name: What is measured.
        published: Its value under the protocol.
        fixed: Its value in the fixed form; None where the question does not arise there.
        unit: Of both; ``%`` and ``points`` are hundredths.
    """

    name: str
    published: float
    fixed: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Thread:
    """A public discussion in which somebody met the defect, or its kind elsewhere."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class AuditItem:
    """A defect.

    Attributes:
        name: As ``sdar audit NAME`` takes it.
        title: In a few words.
        where: Whose protocol has it.
        explanation: What happens, what the simulation assumes, and how to read its figures.
        fixed: What this suite does instead, or how the figure was made.
        threads: Where people met it.
        measure: From a key to the figures; the first is the one that a table shows.
    """

    name: str
    title: str
    where: str
    explanation: str
    fixed: str
    threads: tuple[Thread, ...]
    measure: Callable[[KeyPart], tuple[Figure, ...]]
