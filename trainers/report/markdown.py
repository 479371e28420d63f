"""A document as Markdown, with its figures as links to PNG files. All text is escaped: none of it becomes markup."""

from __future__ import annotations

import re
from collections.abc import Collection

from .document import Block, Cell, DetailsBlock, Document, FactsBlock, FigureBlock, Paragraph, TableBlock, VerdictBlock
from .page import panel_numbers
from .plain_text import one_line

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")


def render_markdown(document: Document, images: Collection[str] = ()) -> str:
    """The document as Markdown.

    Args:
        document: What to write.
        images: Keys of figures that lie in ``figures/<key>.png``; others are written as tables.
    """
    lines = [f"# {escaped(document.title)}", ""]
    lines += [f"> **{escaped(warning)}**\n" for warning in document.warnings]
    for answer in document.answers:
        tail = f": {escaped(answer.numbers)}" if answer.numbers else ""
        lines.append(f"- {escaped(answer.statement)}: **{escaped(answer.word)}**{tail}")
    lines += [*([""] if document.answers else []), escaped(document.lead), ""]
    for headline in document.headlines:
        lines.append(f"- **{escaped(headline.value)}** {escaped(headline.label)} ({escaped(headline.note)})")
    for section in document.sections:
        lines += ["", f"## {escaped(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block, images)
    return "\n".join([*lines, "", escaped(document.made_with), ""])


def escaped(text: str) -> str:
    """One line of plain text in which nothing is read as Markdown or HTML."""
    line = _SPECIAL.sub(r"\\\1", one_line(text))
    # What would begin a list or a heading, and addresses, which some renderers turn into links by themselves.
    line = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", re.sub(r"^([-+=:])(?!\S)", r"\\\1", line))
    return re.sub(r"(?i)\b(https?|ftp|mailto|www)(?=[:.])", r"\1\\", line)


def _block(block: Block, images: Collection[str]) -> list[str]:
    if isinstance(block, Paragraph):
        return [escaped(block.text), ""]
    if isinstance(block, FactsBlock):
        return [*(f"- {escaped(name)}: {escaped(value)}" for name, value in block.facts), ""]
    if isinstance(block, TableBlock):
        return _table(block)
    if isinstance(block, VerdictBlock):
        lines = [f"### {escaped(block.id)}: {escaped(block.verdict)}", "", escaped(block.statement), ""]
        lines += [escaped(block.reason), ""]
        return [*lines, *(f"- {escaped(name)}: {escaped(value)}" for name, value in block.evidence), ""]
    if isinstance(block, FigureBlock):
        return _figure(block, images)
    return _details(block, images)


def _figure(block: FigureBlock, images: Collection[str]) -> list[str]:
    figure = block.figure
    lines = [f"### {escaped(figure.title)}", "", escaped(figure.caption), ""]
    if figure.key in images:
        return [*lines, f"![{escaped(figure.title)}](figures/{figure.key}.png)", ""]
    for panel in figure.panels:
        columns, rows = panel_numbers(panel)
        lines += _table(TableBlock(columns, tuple(rows), panel.title))
    return lines


def _details(block: DetailsBlock, images: Collection[str]) -> list[str]:
    lines = [f"### {escaped(block.summary)}", ""]
    for inner in block.blocks:
        lines += _block(inner, images)
    return lines


def _table(block: TableBlock) -> list[str]:
    lines = [f"**{escaped(block.caption)}**", ""] if block.caption else []
    lines.append("| " + " | ".join(escaped(column.label) for column in block.columns) + " |")
    lines.append("|" + "|".join(" ---: " if column.number else " --- " for column in block.columns) + "|")
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in block.rows]
    explained = [f"{column.label}: {column.about}" for column in block.columns if column.about]
    return [*lines, "", *([escaped(" ".join(explained)), ""] if explained else [])]


def _cell(cell: Cell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong and cell.text else escaped(cell.text)
    return f"{text} ({escaped(cell.sub)})" if cell.sub else text
