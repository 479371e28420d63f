"""Files of official questions: every variant of their records, what is no question, and which splits a file serves.

The files here are written by the tests in the published layouts; the real ones were not at hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from question_records import PROMPT, SDAR, SEARCH_R1, as_jsonl

from sdar_envs.searchqa.official import DatasetError, OfficialTasks, read_questions, read_record, task_type_of

# Records.


def test_search_r1s_and_sdars_records_are_read():
    one = read_record(3, SEARCH_R1)
    assert one is not None
    assert (one.row, one.question, one.answers) == (3, "who wrote it?", ("Ann", "A. Nother"))
    assert (one.data_source, one.split, one.titles) == ("nq", "test", ())
    other = read_record(0, SDAR)
    assert other is not None
    assert (other.question, other.answers, other.data_source) == ("who wrote it?", ("Ann",), "hotpotqa")
    assert other.titles == ("One", "Two")


@pytest.mark.parametrize(
    "truth",
    [
        {"reward_model": {"ground_truth": {"target": ["Ann"]}}},
        {"reward_model": {"ground_truth": {"target": "Ann"}}},
        {"reward_model": {"ground_truth": ["Ann"]}},
        {"reward_model": {"ground_truth": "Ann"}},
        {"env_kwargs": {"ground_truth": ["Ann"]}},  # what the preparation writes when there is no reward_model
        {"golden_answers": ["Ann"]},
        {"golden_answers": "Ann"},
        {"answers": ["Ann"]},
        {"answer": "Ann"},
        {"reward_model": {"ground_truth": {"target": ["the", "?"]}}, "golden_answers": ["Ann"]},
        {"reward_model": None, "answer": "Ann"},
        {"golden_answers": [None, 3, "Ann"]},
    ],
    ids=str,
)
def test_gold_answers_are_found_wherever_they_stand(truth: dict[str, Any]):
    record = read_record(0, {"question": "who?", **truth})
    assert record is not None and record.answers == ("Ann",)


def test_gold_answers_may_be_arrays():
    numpy = pytest.importorskip("numpy")
    record = read_record(0, {"question": "who?", "golden_answers": numpy.array(["Ann", "Bo"], dtype=object)})
    assert record is not None and record.answers == ("Ann", "Bo")


@pytest.mark.parametrize(
    ("place", "question"),
    [
        ({"env_kwargs": {"question": "env?"}, "extra_info": {"question": "extra?"}, "question": "own?"}, "env?"),
        ({"extra_info": {"question": "extra?"}, "question": "own?", "prompt": PROMPT}, "extra?"),
        ({"question": " own \n", "prompt": PROMPT}, "own?"),
        ({"prompt": PROMPT}, "Who is it?"),
        ({"question": "", "prompt": PROMPT}, "Who is it?"),
    ],
    ids=str,
)
def test_questions_are_looked_for_in_the_published_order(place: dict[str, Any], question: str):
    record = read_record(0, {"answer": "Ann", **place})
    assert record is not None and record.question == question


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": "who?"},
        {"answer": "Ann"},
        {"question": "", "answer": "Ann"},
        {"question": "  ", "answer": "Ann", "prompt": []},
        {"question": 3, "answer": "Ann", "prompt": "who?"},
        {"question": "who?", "answer": "the"},
        {"question": "who?", "golden_answers": ["", "?!", "a an the"]},
        {"question": "who?", "golden_answers": []},
        {"question": "who?", "reward_model": {"ground_truth": {"target": [None]}}},
        {"answer": "Ann", "prompt": [{"role": "user"}]},
        {"answer": "Ann", "prompt": [{"role": "assistant", "content": "Question: who?"}]},
    ],
    ids=str,
)
def test_a_record_without_a_question_or_a_usable_answer_is_none(fields: dict[str, Any]):
    assert read_record(0, fields) is None


@pytest.mark.parametrize(
    ("source", "question", "expected"),
    [
        ("nq", "who or what?", "direct"),
        ("triviaqa", "which came first, a or b?", "direct"),
        ("popqa", "what is it?", "attribute"),
        ("hotpotqa", "Which came first, A or B?", "compare"),
        ("hotpotqa", "Were A and B of the same nationality?", "compare"),
        ("hotpotqa", "For what is the form of information known?", "multi_hop"),
        ("2wikimultihopqa", "Who is the father of the director of X?", "multi_hop"),
        ("2wikimultihopqa", "Do both films have the director?", "compare"),
        ("musique", "Who ordered the floor in the orchard?", "multi_hop"),
        ("bamboogle", "What is the capital of the country of X?", "multi_hop"),
        ("something", "which, a or b?", "direct"),
    ],
)
def test_task_types_follow_the_source_and_whole_words(source: str, question: str, expected: str):
    record = read_record(0, {"question": question, "answer": "x", "data_source": f"searchR1_{source}"})
    assert record is not None and task_type_of(record) == expected


def test_supporting_titles_of_musique_are_those_of_marked_paragraphs():
    paragraphs = [{"title": "One", "is_supporting": True}, {"title": "Two", "is_supporting": False}, {"title": "One"}]
    record = read_record(0, {"question": "q?", "answer": "x", "metadata": {"paragraphs": paragraphs}})
    assert record is not None and record.titles == ("One",)


# Files.


def as_parquet(records: list[dict[str, Any]], path: Path) -> Path:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


WRITERS = pytest.mark.parametrize(("write", "suffix"), [(as_jsonl, ".jsonl"), (as_parquet, ".parquet")])
Write = Callable[[list[dict[str, Any]], Path], Path]


@WRITERS
def test_a_file_is_read_and_what_cannot_be_asked_is_counted(write: Write, suffix: str, tmp_path: Path):
    records = [
        {"question": f"q{n}?", "golden_answers": [] if n % 5 == 3 else [f"a{n}"], "data_source": "nq"}
        for n in range(20)
    ]
    path = write(records, tmp_path / f"data{suffix}")
    with pytest.warns(UserWarning, match=r"4 of 20 records .* the first is row 3"):
        questions = read_questions(str(path))
    assert sorted(questions.records) == [n for n in range(20) if n % 5 != 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_questions(str(path)) is questions  # read once, told once


@WRITERS
@pytest.mark.parametrize("record", [SEARCH_R1, SDAR], ids=["search-r1", "sdar"])
def test_published_layouts_go_through_files(record: dict[str, Any], write: Write, suffix: str, tmp_path: Path):
    path = write([record] * 3, tmp_path / f"data{suffix}")
    tasks = OfficialTasks(str(path), split=record["extra_info"]["split"])
    ids = tasks.task_ids(record["extra_info"]["split"])
    task = tasks.load(ids[2])
    assert len(ids) == 3 and task.question == "who wrote it?" and task.answers[0] == "Ann"
    assert task.data_source in ("nq", "hotpotqa") and [need.title for need in task.needs] in ([], ["One", "Two"])


def test_a_changed_file_is_read_again(tmp_path: Path):
    path = as_jsonl([{"question": "one?", "answer": "x"}], tmp_path / "d.jsonl")
    assert read_questions(str(path)).records[0].question == "one?"
    as_jsonl([{"question": "another one?", "answer": "x"}], path)
    assert read_questions(str(path)).records[0].question == "another one?"


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("d.jsonl", b"", "got 0 without"),
        ("d.jsonl", b"{}\n{}\n", "got 2 without"),
        ("d.jsonl", b"<html>", "line 1"),
        ("d.jsonl", b'{"question": "q?", "answer": "a"}\n{"question"', "line 2"),
        ("d.jsonl", b'["q"]', "line 1.*list"),
        ("d.jsonl", b'{"question": "\xff"}', "UTF-8"),
        ("d.jsonl", b"[" * 100_000, "line 1"),
        ("d.parquet", b"", "parquet"),
        ("d.parquet", b"<html>404</html>", "parquet"),
        ("d.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "parquet"),
    ],
    ids=str,
)
def test_a_damaged_file_is_one_error_that_names_it(name: str, content: bytes, named: str, tmp_path: Path):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=named) as caught:
        read_questions(str(path))
    assert name in str(caught.value)


def test_a_truncated_parquet_file_is_named(tmp_path: Path):
    path = as_parquet([SEARCH_R1] * 50, tmp_path / "d.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"d\.parquet.*cut short"):
        read_questions(str(path))


def test_a_parquet_file_of_something_else_says_which_columns_it_has(tmp_path: Path):
    path = as_parquet([{"image": 1, "label": 2}], tmp_path / "d.parquet")
    with pytest.raises(DatasetError, match=r"looked for a question under .* for answers under .*; seen: image, label"):
        read_questions(str(path))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="gone"):
        read_questions(str(tmp_path / "gone.parquet"))


# Splits.


def test_a_file_serves_the_splits_that_its_records_name(tmp_path: Path):
    records = [
        {"question": f"q{n}?", "answer": "x", "extra_info": {"split": s}} for n, s in enumerate(["test", "dev"] * 3)
    ]
    path = as_jsonl(records, tmp_path / "d.jsonl")
    tasks = OfficialTasks(str(path), split="test")
    assert list(tasks.task_ids("test")) == ["test:000000", "test:000002", "test:000004"]
    assert list(tasks.task_ids("valid")) == ["valid:000001", "valid:000003", "valid:000005"]
    with pytest.raises(DatasetError, match=r"'train'.*test, valid"):
        tasks.task_ids("train")
    with pytest.raises(DatasetError, match="'train'"):
        OfficialTasks(str(path), split="train")
    assert tasks.load("test:000002").question == "q2?"
    for other in ("test:000001", "valid:000002", "test:2"):  # a row of the other split, and no id
        with pytest.raises(ValueError, match="task id"):
            tasks.load(other)


def test_a_file_that_names_no_split_serves_the_one_that_is_asked_for_and_no_other(tmp_path: Path):
    path = as_jsonl([{"question": "q?", "answer": "x"}], tmp_path / "d.jsonl")
    assert list(OfficialTasks(str(path), split="test").task_ids("test")) == ["test:000000"]
    with pytest.raises(DatasetError, match="mapping"):
        OfficialTasks(str(path), split="train").task_ids("test")


def test_a_mapping_gives_each_split_its_file(tmp_path: Path):
    paths = {
        split: str(as_jsonl([{"question": f"{split}?", "answer": "x"}], tmp_path / f"{split}.jsonl"))
        for split in ("train", "dev", "test")
    }
    tasks = OfficialTasks(paths, split="train")
    assert tasks.load("valid:000000").question == "dev?" and tasks.load("test:000000").question == "test?"
    with pytest.raises(ValueError, match="nearest"):
        tasks.load("test:000001")


def test_a_task_type_can_be_singled_out(tmp_path: Path):
    records = [{"question": "which, a or b?", "answer": "x", "data_source": s} for s in ("nq", "hotpotqa", "hotpotqa")]
    path = as_jsonl(records, tmp_path / "d.jsonl")
    assert len(OfficialTasks(str(path), split="test", task_type="compare").task_ids("test")) == 2
