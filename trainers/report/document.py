"""What a report says, without how it looks: sections of blocks, which `page` writes as HTML and `markdown` as Markdown.

All text is plain text: nothing in it is read as markup by either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Prose. `tone` is ``plain``, ``note`` (small, about what stands above) or ``warning``."""

    text: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, a smaller second line (an interval), the colour of an arm, and whether to stress it."""

    text: str
    sub: str = ""
    colour: int | None = None
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; `number` columns are flushed right. `about` is said in full under the table."""

    label: str
    number: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table; `rows` are as long as `columns`, the first cell of each names the row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class FactsBlock:
    """Names and values, e.g. the versions that something ran on. `wide` gives long values a line of their own."""

    facts: tuple[tuple[str, str], ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class VerdictBlock:
    """A hypothesis and what became of it; `verdict` is ``supported``, ``refuted`` or ``undecided``."""

    id: str
    statement: str
    verdict: str
    reason: str
    evidence: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A figure in its place."""

    figure: Figure


@dataclass(frozen=True, slots=True)
class DetailsBlock:
    """Blocks that a reader may unfold."""

    summary: str
    blocks: tuple[Block, ...]


Block = Paragraph | TableBlock | FactsBlock | VerdictBlock | FigureBlock | DetailsBlock


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the few numbers that stand on top: ``49.3 %`` with what it is and how sure it is."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader came for, in a line: ``undecided``, the statement it is about, and the number behind it."""

    word: str
    statement: str
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A report. It opens with `warnings`, which cannot be overlooked, and the `answers`; `lead` says what was done."""

    title: str
    kind: str
    lead: str
    headlines: tuple[Headline, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    made_with: str = ""
    answers: tuple[Answer, ...] = ()


def figures_of(document: Document) -> list[Figure]:
    """All figures, in order, the folded ones too."""
    blocks = [block for section in document.sections for block in _flat(section.blocks)]
    return [block.figure for block in blocks if isinstance(block, FigureBlock)]


def _flat(blocks: Sequence[Block]) -> list[Block]:
    found: list[Block] = []
    for block in blocks:
        found += _flat(block.blocks) if isinstance(block, DetailsBlock) else [block]
    return found
