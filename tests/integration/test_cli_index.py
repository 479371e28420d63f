"""`sdar index` and `sdar serve-retrieval` as a person uses them: from a corpus to an environment over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("faiss")
pytest.importorskip("yaml")

from trainers.cli import main

LINES = 600


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "passages.jsonl"
    texts = [f'"Thing {n}"\nEntry {n} tells of topic {n % 13} and of colour {n % 7}.' for n in range(LINES)]
    path.write_text("".join(json.dumps({"id": str(n), "contents": text}) + "\n" for n, text in enumerate(texts)))
    return path


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_is_built_checked_compressed_and_played_over(
    kind: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from sdar_envs.searchqa.env import SearchQAEnv

    index, smaller = tmp_path / "p.index", tmp_path / "p.sq8.index"
    assert main(["index", "build", "--corpus", str(corpus), "--output", str(index), "--kind", kind]) == 0
    assert f"{LINES} vectors of 512" in capsys.readouterr().out
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(index)]) == 0
    assert "100 of 100 passages are found by their own text" in capsys.readouterr().out
    assert main(["index", "compress", "--index", str(index), "--to", "SQ8", "--output", str(smaller)]) == 0
    assert smaller.stat().st_size < 0.3 * index.stat().st_size
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(smaller)]) == 0
    questions = tmp_path / "q.jsonl"
    questions.write_text(json.dumps({"question": "which topic has thing 17?", "answer": "topic 4"}))
    env = SearchQAEnv(dataset=str(questions), corpus=str(corpus), index=str(smaller), topk=1)
    env.reset(seed=0)
    assert "Thing 17" in env.step("<search>thing 17 entry 17</search>")[0]


def test_a_check_names_the_damaged_line(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    index = tmp_path / "p.index"
    main(["index", "build", "--corpus", str(corpus), "--output", str(index)])
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join([*lines[:77], lines[77][:-5], *lines[78:]]))
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(index)]) == 2
    assert "row 77" in capsys.readouterr().err


def test_a_check_tells_an_index_of_another_encoder(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from sdar_envs.searchqa.encoder import HashedEncoder
    from sdar_envs.searchqa.setup import saved_encoder

    index = tmp_path / "p.index"
    main(["index", "build", "--corpus", str(corpus), "--output", str(index), "--encoder", "hashed"])
    HashedEncoder.fit(["something else"], seed=9).save(saved_encoder(index))
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(index)]) == 1
    assert "another encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["index", "build"], "--corpus"),
        (["index", "build", "--corpus", "gone.jsonl", "--output", "x.index"], "gone.jsonl"),
        (["index", "compress", "--index", "gone.index", "--output", "x.index"], "gone.index"),
        (["index", "compress", "--index", "a"], "--output"),
        (["index", "chek"], "invalid choice"),
        (["index", "build", "--corpus", "c", "--output", "x.index", "--kind", "hsnw"], 'the nearest is "hnsw"'),
        (["index", "build", "--corpus", "c", "--output", "x.index", "--dim", "0"], "--dim >= 1, got 0"),
        (["index", "build", "--corpus", "c", "--output", "x.index", "--threads", "0"], "--threads >= 1, got 0"),
        (["index", "build", "--corpus", "c", "--output", "no/folder/x.index"], "no/folder"),
        (["index", "compress", "--index", "a", "--output", "x.index", "--to", "SQ9"], "SQ8"),
        (["serve-retrieval", "--threads", "0"], "--threads"),
        (["serve-retrieval", "--topk", "0"], "--topk"),
        (["serve-retrieval", "--port", "70000"], "--port"),
        (["serve-retrieval", "--index", "x.index", "--port", "0"], "--corpus"),
        (["serve-retrieval", "--size", "smal", "--port", "0"], 'the nearest is "small"'),
        (["serve-retrieval", "--corpus", "gone.jsonl", "--port", "0"], "gone.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("uvicorn")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_output_is_never_written_over(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    there = tmp_path / "there.index"
    there.write_text("precious")
    assert main(["index", "build", "--corpus", str(corpus), "--output", str(there)]) == 2
    assert "is there already" in capsys.readouterr().err and there.read_text() == "precious"


def test_a_folder_of_documents_becomes_an_environment_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from sdar_envs.searchqa.env import SearchQAEnv

    docs, index = tmp_path / "docs", tmp_path / "docs.index"
    docs.mkdir()
    (docs / "pumps.md").write_text("# Pumps\n\n## Oil\nThe oil pump holds 4 litres.\n\n## Water\nIt holds 9 litres.\n")
    (docs / "rows.jsonl").write_text('{"id": 1007, "title": "Fans", "text": "A fan has 5 blades."}\n')
    (docs / "long.jsonl").write_text(json.dumps({"id": "long", "text": "x" * 5_000}))
    (docs / "scan.pdf").write_bytes(b"%PDF")
    assert main(["index", "build", "--folder", str(docs), "--output", str(index)]) == 0
    said = capsys.readouterr()
    assert "4 passages by their words" in said.out and "docs.index.passages.jsonl" in said.out
    assert "left out: files of kinds that are not read (.pdf 1" in said.err
    assert "1 passages are longer than the 4,000 characters that are shown" in said.err
    corpus = tmp_path / "docs.index.passages.jsonl"
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(index)]) == 0
    questions = tmp_path / "q.csv"
    questions.write_text("Question,Answer\nHow many litres does the oil pump hold?,4\n")
    env = SearchQAEnv(split="test", dataset=questions, corpus=corpus, index=index, topk=1)
    env.reset(seed=0)
    observation, _, _, _, info = env.step("<search>litres of the oil pump</search>")
    assert ("Pumps > Oil" in observation and info["hit_ids"] == ["pumps.md#2"]) or info["hit_ids"] == ["pumps.md"]
    assert env.step("<search>blades of a fan</search>")[4]["hit_ids"] == ["1007"]
    lines = corpus.read_text().splitlines()
    corpus.write_text("\n".join(reversed(lines)))
    assert main(["index", "check", "--corpus", str(corpus), "--index", str(index)]) == 2
    assert "expected row" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--folder", "gone", "--output", "x.index"], "gone: expected a folder"),
        (["--folder", ".", "--output", "x.index", "--words", "5", "--overlap", "5"], "overlap"),
        (["--corpus", "c", "--output", "x.index", "--encoder", "lexical", "--kind", "hnsw"], "lexical makes none"),
        (["--corpus", "c", "--output", "x.index", "--nprobe", "0"], "--nprobe"),
    ],
)
def test_what_cannot_be_built_is_said(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["index", "build", *words]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.glob("x.*"))


def test_a_lexical_index_has_no_vectors_to_compress(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    index = str(tmp_path / "p.index")
    assert main(["index", "build", "--corpus", str(corpus), "--output", index]) == 0
    assert main(["index", "compress", "--index", index, "--output", str(tmp_path / "q.index")]) == 2
    assert "no vectors to compress" in capsys.readouterr().err


def test_a_server_of_a_lexical_index_says_so(corpus: Path, tmp_path: Path):
    import argparse

    from trainers.cli import serve_retrieval

    parser = argparse.ArgumentParser()
    serve_retrieval.add_arguments(parser)
    options = parser.parse_args(["--corpus", str(corpus)])
    facts = serve_retrieval.facts_of(serve_retrieval.open_retriever(options).inner)
    assert facts["encoder"] == "lexical" and facts["ntotal"] == LINES
    with pytest.raises(ValueError, match="made for vectors"):
        serve_retrieval.open_retriever(parser.parse_args(["--encoder", "lexical"]))
