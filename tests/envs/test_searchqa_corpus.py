"""Corpus files: lines found however they end, records of both forms, damage refused by file and row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searchqa_material import TEXTS

from sdar_envs.searchqa.corpus import (
    CorpusError,
    JsonlCorpus,
    MemoryCorpus,
    Passage,
    fingerprint_of,
    line_starts,
    write_jsonl,
)


def lines(count: int, end: str = "\n") -> str:
    return "".join(json.dumps({"id": str(n), "contents": TEXTS[n]}, ensure_ascii=False) + end for n in range(count))


def corpus_file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "shape",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\n" + text.replace("\n", "\n\n") + "  \n\t\r\n",
        lambda text: "\ufeff" + text,
    ],
    ids=["plain", "CRLF", "no final line break", "blank lines", "byte order mark"],
)
def test_lines_are_found_however_they_end(shape: Callable[[str], str], tmp_path: Path):
    corpus = JsonlCorpus(corpus_file(tmp_path, shape(lines(50))))
    assert len(corpus) == 50
    assert [corpus.passage(n).contents for n in (0, 7, 49)] == [TEXTS[0], TEXTS[7], TEXTS[49]]
    assert [passage.id for passage in corpus] == list(range(50))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["", " ", "\r", '{"a": 1}', "é" * 40, "x" * 5]), max_size=30), st.booleans())
def test_line_starts_are_those_of_a_plain_reader(parts: list[str], final: bool):
    import mmap

    data = ("\n".join(parts) + ("\n" if final else "")).encode()
    if not data:
        return
    with mmap.mmap(-1, len(data)) as mapped:
        mapped.write(data)
        starts = line_starts(mapped)
    found = [data[start:].split(b"\n")[0].strip() for start in starts]
    assert found == [line.strip() for line in data.split(b"\n") if line.strip()]


def test_both_forms_of_a_record_are_read_and_unicode_survives(tmp_path: Path):
    records = [{"id": 0, "contents": '"\u00c9cole"\nd\u00e9j\u00e0'}, {"id": 1, "title": "T", "text": "U\u2028V"}]
    path = corpus_file(tmp_path, "\n".join(json.dumps(r, ensure_ascii=False) for r in records))
    corpus = JsonlCorpus(path)
    assert corpus.passage(0).title == "\u00c9cole" and corpus.passage(0).heading == '"\u00c9cole"'
    assert corpus.passage(1).contents == '"T"\nU\u2028V' and corpus.passage(1).text == "U\u2028V"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty file"),
        ("\n \n", "blank lines"),
        ("<html>Not found</html>", "row 0"),
        ('{"id": "0", "contents": "a"}\n{"id": "1", "conte', "row 1"),
        ('{"id": "0"}', "contents"),
        ('{"id": "0", "contents": null}', "contents"),
        ('{"id": "0", "title": "a", "text": 3}', "contents"),
        ('["a"]', "JSON list"),
        ("3", "JSON int"),
        ('{"id": "5", "contents": "a"}', "expected id 0, got 5"),
        ('{"id": "1", "contents": "a"}\n{"id": "0", "contents": "b"}', "reordered"),
        (b'{"id": "0", "contents": "\xff\xfe"}', "row 0"),
        ("[" * 100_000, "row 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_damaged_corpus_is_refused_by_file_and_row(content: str | bytes, named: str, tmp_path: Path):
    with pytest.raises(CorpusError, match=named) as caught:
        JsonlCorpus(corpus_file(tmp_path, content))
    assert "corpus.jsonl" in str(caught.value)


def test_a_damaged_line_between_those_of_the_sample_is_met_when_it_is_read(tmp_path: Path):
    rows = [json.dumps({"id": str(n), "contents": "x"}) for n in range(3_000)]
    rows[1_001] = rows[1_001].replace("}", "")
    corpus = JsonlCorpus(corpus_file(tmp_path, "\n".join(rows)))
    with pytest.raises(CorpusError, match="row 1001"):
        corpus.passage(1_001)


def test_a_missing_corpus_is_named(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"gone\.jsonl.*cannot be opened"):
        JsonlCorpus(tmp_path / "gone.jsonl")


def test_the_sidecar_is_used_and_made_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sdar_envs.searchqa import corpus as module

    path = corpus_file(tmp_path, lines(40))
    JsonlCorpus(path)
    scans: list[int] = []
    monkeypatch.setattr(module, "line_starts", lambda data: (scans.append(len(data)), line_starts(data))[1])
    assert len(JsonlCorpus(path)) == 40 and scans == []
    path.write_text(lines(41))
    assert len(JsonlCorpus(path)) == 41 and len(scans) == 1
    # Same size and time, other content: the edges tell.
    state = path.stat()
    path.write_text(lines(41).replace("topic 3", "tepic 3"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    JsonlCorpus(path)
    assert len(scans) == 2


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x93NUMPY" + b"\0" * 100])
def test_a_damaged_sidecar_is_made_again(damage: bytes, tmp_path: Path):
    path = corpus_file(tmp_path, lines(40))
    JsonlCorpus(path)
    for name in ("corpus.jsonl.offsets.npy", "corpus.jsonl.offsets.json"):
        sidecar = tmp_path / name
        sidecar.write_bytes(damage)
        assert len(JsonlCorpus(path)) == 40


def test_where_the_folder_cannot_be_written_to_the_sidecar_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sdar_envs.searchqa import corpus as module

    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    path = corpus_file(data, lines(40))
    save = module._save_sidecar

    def refuse(base: Path, *rest: object) -> None:
        if base.parent == data:
            raise PermissionError(13, "read-only")
        save(base, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_save_sidecar", refuse)
    assert len(JsonlCorpus(path)) == 40
    assert list(cache.rglob("*.npy")) and not list(data.glob("*.npy"))
    monkeypatch.setattr(module, "_save_sidecar", lambda *_: pytest.fail("it is in the cache"))
    assert len(JsonlCorpus(path)) == 40


def test_a_fingerprint_is_of_what_is_said_not_of_how_it_is_kept(tmp_path: Path):
    passages = [Passage(n, text) for n, text in enumerate(TEXTS)]
    write_jsonl(tmp_path / "c.jsonl", passages)
    kept = JsonlCorpus(tmp_path / "c.jsonl")
    assert kept.fingerprint == MemoryCorpus(passages).fingerprint == fingerprint_of(kept)
    assert MemoryCorpus(passages[:-1]).fingerprint != kept.fingerprint
