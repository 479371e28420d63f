"""A folder of a user's own documents: which passages it becomes, under which titles and ids, and what is said of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from sdar_envs.searchqa.documents import Chunk, DocumentError, Report, chunks_of


def put(folder: Path, name: str, text: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def read(folder: Path, **options: int) -> list[Chunk]:
    return list(chunks_of(folder, **options))


def test_markdown_is_cut_by_its_headings(tmp_path: Path):
    put(
        tmp_path,
        "guide/setup.md",
        "Before any heading.\n\n# Setup\nAll of it.\n\n## Linux ##\nUse\nthe package.\n\n```\n# no heading\n```\n\n"
        "## Empty\n\n## Mac\nNo.\n\nUnderlined\n==========\nText.\n\n---\nA rule is none.\n",
    )
    assert [(chunk.id, chunk.title, chunk.text) for chunk in read(tmp_path)] == [
        ("guide/setup.md", "setup", "Before any heading."),
        ("guide/setup.md#2", "Setup", "All of it."),
        ("guide/setup.md#3", "Setup > Linux", "Use\nthe package.\n```\n# no heading\n```"),
        ("guide/setup.md#4", "Setup > Mac", "No."),
        ("guide/setup.md#5", "Underlined", "Text.\n---\nA rule is none."),
    ]


def test_html_is_read_without_what_nobody_reads(tmp_path: Path):
    put(
        tmp_path,
        "p.html",
        "<html><head><title>The  page</title><style>p {}</style></head><body><p>One &amp; two</p>"
        "<script>var x = '<h1>no</h1>';</script><h1>Top <em>level</em></h1><p>Three</p><h3>Deep</h3>four<br>five"
        "<h2>Next</h2><ul><li>six</li><li>seven</li></ul></body></html>",
    )
    assert [(chunk.title, chunk.text) for chunk in read(tmp_path)] == [
        ("The page", "One & two"),
        ("Top level", "Three"),
        ("Top level > Deep", "four\nfive"),
        ("Top level > Next", "six\nseven"),
    ]


def test_rows_keep_their_ids_and_titles(tmp_path: Path):
    lines = [
        {"id": "d-1", "title": "One", "text": "First."},
        {"_id": 70, "contents": '"Two"\nSecond.'},
        {"body": "Third."},
    ]
    put(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, lines)))
    assert [(chunk.id, chunk.title, chunk.text) for chunk in read(tmp_path)] == [
        ("d-1", "One", "First."),
        ("70", "Two", "Second."),
        ("rows.jsonl:2", "rows", "Third."),
    ]
    assert read(tmp_path)[1].contents == '"Two"\nSecond.'


def test_parquet_is_read_as_rows_are(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.Table.from_pylist([{"doc_id": "a", "title": "T", "text": "U", "other": 1}])
    parquet.write_table(table, tmp_path / "d.parquet")
    assert read(tmp_path) == [Chunk("a", "T", "U")]


def test_long_texts_are_cut_with_overlap_at_ends_of_sentences(tmp_path: Path):
    words = [f"w{n}." if n % 10 == 9 else f"w{n}" for n in range(100)]
    put(tmp_path, "long.txt", " ".join(words))
    pieces = [chunk.text.split() for chunk in read(tmp_path, words=25, overlap=5)]
    assert all(len(piece) <= 25 for piece in pieces)
    assert all(piece[-1].endswith(".") for piece in pieces)
    assert all(before[-5:] == after[:5] for before, after in itertools.pairwise(pieces))
    assert {word for piece in pieces for word in piece} == set(words)
    assert [len(piece) for piece in [chunk.text.split() for chunk in read(tmp_path, words=100, overlap=0)]] == [100]


def test_a_word_longer_than_everything_still_ends(tmp_path: Path):
    put(tmp_path, "a.txt", "x" * 10_000 + " y z")
    assert [len(chunk.text.split()) for chunk in read(tmp_path, words=1, overlap=0)] == [1, 1, 1]


def test_what_is_left_out_or_odd_is_said(tmp_path: Path):
    put(tmp_path, "a.txt", "Text.")
    put(tmp_path, "empty.txt", " \n")
    put(tmp_path, "old.txt", "caf\u00e9".encode("cp1252"))
    put(tmp_path, "scan.pdf", b"%PDF")
    put(tmp_path, ".hidden/b.txt", "no")
    put(tmp_path, "one.jsonl", '{"id": "a.txt", "text": "twice"}\n')
    report = Report()
    assert [chunk.text for chunk in chunks_of(tmp_path, report=report)] == ["Text.", "caf\u00e9", "twice"]
    assert report.lines() == [
        "4 files, 4 documents, 3 passages",
        "left out: files of kinds that are not read (.pdf 1; read are .txt .md .markdown .html .htm .parquet .jsonl)",
        "warning: 1 documents hold no text",
        "warning: 1 passages have an id that another has too",
        "warning: 1 files are not UTF-8 and were read as Windows-1252, the first is old.txt",
    ]


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.pdf", "x", r"expected documents with text in files of \.txt"),
        ("a.jsonl", "{", r"a\.jsonl, line 1"),
        ("a.jsonl", "[1]", "expected an object, got a list"),
        ("a.jsonl", '{"words": "x"}', "looked for a text under contents, .*; seen: words"),
        ("a.parquet", "x", "expected a parquet file"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, text: str, match: str, tmp_path: Path):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    put(tmp_path, name, text)
    with pytest.raises(DocumentError, match=match):
        read(tmp_path)


def test_limits_that_leave_no_room_are_refused(tmp_path: Path):
    put(tmp_path, "a.txt", "x")
    for options in ({"words": 0}, {"words": 5, "overlap": 5}, {"overlap": -1}):
        with pytest.raises(ValueError, match="documents"):
            read(tmp_path, **options)
    with pytest.raises(DocumentError, match="there is none"):
        read(tmp_path / "gone")
