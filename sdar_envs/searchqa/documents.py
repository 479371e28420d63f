"""A folder of a user's own documents as passages: txt, md, html, parquet and JSONL, cut by headings and length.

A passage has a title (its headings, or its document's name), a text of a bounded number of words that overlaps with
the one before, and an id: the document's own where it has one, else its path, with ``#2`` and so on behind it for the
second passage and those that follow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..choices import require_number
from .corpus import encodable
from .record_files import json_record, parquet_records

SUFFIXES = (".txt", ".md", ".markdown", ".html", ".htm", ".parquet", ".jsonl")
WORDS = 120
OVERLAP = 30
JOINT = " > "  # between the headings of a title

_ID_KEYS = ("id", "_id", "doc_id", "docid", "pid", "passage_id")
_TITLE_KEYS = ("title", "heading", "name")
_TEXT_KEYS = ("contents", "text", "body", "content", "passage", "passage_text")
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")
_UNDERLINE = re.compile(r"(=+|-{3,})\s*$")
_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile("[.!?\u3002\uff01\uff1f][\"'\u201d\u2019)\\]]*$")


class DocumentError(ValueError):
    """Documents that cannot be read; the message names the file and what was expected."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its id, a title for what stands under no heading, and (headings, text) in order."""

    id: str
    title: str
    sections: tuple[tuple[tuple[str, ...], str], ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage of a document, before it has a row."""

    id: str
    title: str
    text: str

    @property
    def contents(self) -> str:
        """In the form of Search-R1's corpora."""
        return f'"{self.title}"\n{self.text}'


@dataclass
class Report:
    """What was read, and what a user should know of it.

    Attributes:
        files: Files read.
        documents: Documents in them.
        chunks: Passages made.
        left_out: Suffix -> files of other kinds, which were not read.
        empty: Documents without text.
        repeated: Passages whose id another has too.
        recoded: Files that are not UTF-8 and were read as Windows-1252.
    """

    files: int = 0
    documents: int = 0
    chunks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    repeated: int = 0
    recoded: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One sentence each."""
        said = [f"{self.files:,} files, {self.documents:,} documents, {self.chunks:,} passages"]
        if self.left_out:
            kinds = ", ".join(f"{suffix or 'no suffix'} {count:,}" for suffix, count in self.left_out.most_common())
            said.append(f"left out: files of kinds that are not read ({kinds}; read are {' '.join(SUFFIXES)})")
        if self.empty:
            said.append(f"warning: {self.empty:,} documents hold no text")
        if self.repeated:
            said.append(f"warning: {self.repeated:,} passages have an id that another has too")
        if self.recoded:
            said.append(
                f"warning: {len(self.recoded):,} files are not UTF-8 and were read as Windows-1252, the first "
                f"is {self.recoded[0]}"
            )
        return said


def chunks_of(
    folder: Path, *, words: int = WORDS, overlap: int = OVERLAP, report: Report | None = None
) -> Iterator[Chunk]:
    """The passages of a folder, files in the order of their paths, hidden ones left out.

    Args:
        folder: Where the documents are.
        words: Of a passage at most.
        overlap: Words that a passage repeats of the one before it.
        report: Filled while passages are drawn.

    Raises:
        DocumentError: There is no such folder, it holds no document, or a file is damaged.
        ImportError: There is a parquet file, and pyarrow is not installed.
        ValueError: `overlap` leaves no room for new words.
    """
    require_number("words", words, "documents", low=1, whole=True)
    require_number("overlap", overlap, "documents", low=0, high=words - 1, whole=True)
    said = Report() if report is None else report
    if not folder.is_dir():
        raise DocumentError(f"{folder}: expected a folder of documents, and there is none")
    seen: set[str] = set()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in inner.parts):
            continue
        if path.suffix.lower() not in SUFFIXES:
            said.left_out[path.suffix.lower()] += 1
            continue
        said.files += 1
        for document in documents_in(path, inner.as_posix(), said):
            said.documents += 1
            number = 0
            for number, (title, text) in enumerate(_cut(document, words, overlap), start=1):
                chunk = Chunk(document.id if number == 1 else f"{document.id}#{number}", title, text)
                said.chunks += 1
                said.repeated += chunk.id in seen
                seen.add(chunk.id)
                yield chunk
            said.empty += not number
    if not said.chunks:
        raise DocumentError(f"{folder}: expected documents with text in files of {' '.join(SUFFIXES)}, got none")


def documents_in(path: Path, name: str, report: Report) -> Iterator[Document]:
    """The documents of one file."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from (
            _from_row(row, name, number) for number, row in enumerate(parquet_records(path, _columns, DocumentError))
        )
    elif suffix == ".jsonl":
        for number, line in enumerate(_text(path, name, report).split("\n")):
            if line.strip():
                yield _from_row(json_record(line, f"{path}, line {number + 1}", DocumentError), name, number)
    elif suffix in (".html", ".htm"):
        title, sections = _html(_text(path, name, report))
        yield Document(name, title or path.stem, tuple(sections))
    elif suffix == ".txt":
        yield Document(name, path.stem, (((), _text(path, name, report)),))
    else:
        yield Document(name, path.stem, tuple(_markdown(_text(path, name, report))))


def _text(path: Path, name: str, report: Report) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        report.recoded.append(name)
        text = content.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Rows.


def _columns(names: Sequence[str]) -> list[str]:
    return [name for name in names if name in (*_ID_KEYS, *_TITLE_KEYS, *_TEXT_KEYS)]


def _from_row(row: Mapping[str, Any], name: str, number: int) -> Document:
    text = next((row[key] for key in _TEXT_KEYS if isinstance(row.get(key), str)), None)
    if text is None:
        raise DocumentError(
            f"{name}, row {number}: looked for a text under {', '.join(_TEXT_KEYS)}; seen: {', '.join(map(str, row))}"
        )
    title = next((row[key] for key in _TITLE_KEYS if isinstance(row.get(key), str)), "")
    first, broken, rest = text.partition("\n")
    if broken and len(first) > 2 and first.startswith('"') and first.endswith('"'):  # Search-R1's form
        title, text = title or first[1:-1], rest
    given = next((row[key] for key in _ID_KEYS if isinstance(row.get(key), str | int)), f"{name}:{number}")
    return Document(encodable(str(given)), encodable(title or Path(name).stem), (((), encodable(text)),))


# Headings.


def _markdown(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    headings: list[tuple[int, str]] = []
    lines: list[str] = []
    fenced = False
    for line in [*text.split("\n"), ""]:
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        level, title = (len(heading[1]), heading[2]) if heading else (0, "")
        if (
            not fenced
            and lines
            and lines[-1].strip()
            and _UNDERLINE.match(line)
            and (len(lines) == 1 or not lines[-2].strip())
        ):
            level, title = (1 if line.startswith("=") else 2), lines.pop().strip()
        if not level:
            lines.append(line)
            continue
        yield tuple(name for _, name in headings), "\n".join(lines)
        lines = []
        headings = [*(pair for pair in headings if pair[0] < level), (level, title)]
    yield tuple(name for _, name in headings), "\n".join(lines)


# HTML: what is not shown as text, what begins a line of its own, and headings.
_SILENT = ("script", "style", "noscript", "template", "svg")
_BLOCKS = frozenset(
    {"p", "div", "li", "ul", "ol", "table", "tr", "td", "th", "section", "article", "header", "footer", "main"}
    | {"nav", "pre", "blockquote", "dd", "dt", "br", "hr", "figure"}
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def _html(text: str) -> tuple[str, list[tuple[tuple[str, ...], str]]]:
    """Title, and text by headings; scripts and styles are left out."""
    from bs4 import BeautifulSoup
    from bs4.element import PreformattedString, Tag

    soup = BeautifulSoup(text, "html.parser")
    for silent in soup(_SILENT):
        silent.decompose()
    title = "" if soup.title is None else " ".join(soup.title.get_text().split())
    if soup.title is not None:
        soup.title.decompose()
    found: list[tuple[tuple[str, ...], str]] = []
    headings: list[tuple[int, str]] = []
    parts: list[str] = []

    def end_section() -> None:
        found.append((tuple(name for _, name in headings if name), "".join(parts)))
        parts.clear()

    for node in soup.descendants:
        if isinstance(node, Tag):
            level = _HEADINGS.get(node.name)
            if level is not None:
                end_section()
                name = " ".join(node.get_text().split())
                headings[:] = [*(pair for pair in headings if pair[0] < level), (level, name)]
            elif node.name in _BLOCKS:
                parts.append("\n")
        elif not isinstance(node, PreformattedString) and node.find_parent(_HEADINGS) is None:
            before = node.previous_sibling
            if isinstance(before, Tag) and before.name in _BLOCKS:
                parts.append("\n")
            parts.append(str(node))
    end_section()
    return title, found


# Lengths.


def _cut(document: Document, words: int, overlap: int) -> Iterator[tuple[str, str]]:
    """(title, text) of each passage."""
    for headings, text in document.sections:
        title = " ".join(JOINT.join(headings or (document.title,)).split())
        for piece in _windows(text, words, overlap):
            yield title, piece


def _windows(text: str, words: int, overlap: int) -> Iterator[str]:
    """Pieces of at most `words` words; one ends with a sentence where one ends in its last quarter."""
    spans = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    start = 0
    while start < len(spans):
        end = min(start + words, len(spans))
        if end < len(spans):
            least = max(start + overlap + 1, end - words // 4)
            whole = (n for n in range(end, least - 1, -1) if _SENTENCE_END.search(text[slice(*spans[n - 1])]))
            end = next(whole, end)
        piece = text[spans[start][0] : spans[end - 1][1]]
        yield encodable(re.sub(r"[^\S\n]+", " ", re.sub(r"\s*\n\s*", "\n", piece)))
        if end == len(spans):
            return
        start = end - overlap
