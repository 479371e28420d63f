"""The data sets' own files: rows in every published layout, with all answers, a plan, and a task type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from official_questions import FOLDER, needs_official

from sdar_envs.searchqa.answers import exact_match
from sdar_envs.searchqa.layouts import DatasetError, answers_in, rows_of, source_of
from sdar_envs.searchqa.official import OfficialTasks, Record, read_questions, read_record, task_type_of


def only(path: Path) -> Record:
    [record] = read_questions(str(path)).records.values()
    return record


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


HOTPOT = {
    "_id": "1",
    "question": "Who was born first, A or B?",
    "answer": "A",
    "type": "comparison",
    "supporting_facts": [["Ann", 0], ["Ann", 2], ["Bo", 0]],
    "context": [["Ann", ["One."]], ["Bo", ["Two."]], ["Cy", ["Three."]]],
}


def test_hotpotqas_array_is_read_with_its_plan_and_kind(tmp_path: Path):
    record = only(written(tmp_path / "dev.json", [HOTPOT]))
    assert (record.data_source, record.titles, task_type_of(record)) == ("hotpotqa", ("Ann", "Bo"), "compare")
    assert exact_match("a", record.answers) == 1.0  # the letter, which the normal form takes for an article


def test_the_hubs_columns_of_supporting_facts_are_read():
    record = read_record(0, HOTPOT | {"supporting_facts": {"title": ["Ann", "Ann", "Bo"], "sent_id": [0, 2, 0]}})
    assert record is not None and record.titles == ("Ann", "Bo")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bridge", "multi_hop"),
        ("comparison", "compare"),
        ("bridge_comparison", "compare"),
        ("compositional", "multi_hop"),
        ("inference", "multi_hop"),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_a_data_sets_own_kind_decides_over_the_words_of_a_question(kind: str, expected: str, inside: bool):
    fields = {"question": "Which is it?", "golden_answers": ["x"], "data_source": "2wikimultihopqa"}
    record = read_record(0, fields | ({"metadata": {"type": kind}} if inside else {"type": kind}))
    assert record is not None and task_type_of(record) == expected


def test_musiques_aliases_count_and_its_steps_order_the_plan():
    paragraphs = [
        {"idx": 0, "title": "Last", "is_supporting": True},
        {"idx": 1, "title": "Stray", "is_supporting": False},
        {"idx": 2, "title": "First", "is_supporting": True},
    ]
    steps = [{"paragraph_support_idx": 2}, {"paragraph_support_idx": 0}]
    record = read_record(
        0,
        {
            "question": "When?",
            "answer": "1960",
            "answer_aliases": ["in 1960"],
            "paragraphs": paragraphs,
            "question_decomposition": steps,
        },
    )
    assert record is not None
    assert (record.data_source, record.titles, task_type_of(record)) == ("musique", ("First", "Last"), "multi_hop")
    assert exact_match("in 1960", record.answers) == 1.0


def test_squads_articles_are_taken_apart(tmp_path: Path):
    questions = [{"id": "1", "question": "q?", "answers": [{"text": "alpha"}, {"text": "beta"}]}]
    article = {"title": "Some_Article", "paragraphs": [{"context": "c", "qas": questions}]}
    record = only(written(tmp_path / "s.json", {"version": "1.1", "data": [article]}))
    assert (record.answers, record.titles) == (("alpha", "beta"), ("Some Article",))
    assert (record.data_source, task_type_of(record)) == ("squad", "direct")


def test_triviaqas_names_are_read_in_either_case(tmp_path: Path):
    answer = {"Value": "David Seville", "Aliases": ["D. Seville"], "NormalizedAliases": ["david seville"]}
    record = only(written(tmp_path / "t.json", {"Data": [{"Question": "Who?", "Answer": answer}]}))
    assert (record.data_source, record.answers) == ("triviaqa", ("David Seville", "D. Seville", "david seville"))


def test_tables_are_read_with_commas_and_with_tabs(tmp_path: Path):
    assert only(written(tmp_path / "bamboogle.csv", 'Question,Answer\nWhen?,"April 30, 1789"\n')).answers == (
        "April 30, 1789",
    )
    table = 'id\tprop\tquestion\tpossible_answers\n1\toccupation\tWhat?\t"[""poet"", ""bard""]"\n'
    record = only(written(tmp_path / "p.tsv", table))
    assert (record.answers, record.data_source, task_type_of(record)) == (("poet", "bard"), "popqa", "attribute")


def test_lines_in_a_json_file_are_still_read(tmp_path: Path):
    path = written(tmp_path / "d.json", '{"question": "q?", "answer": "x"}\n{"question": "r?", "answer": "y"}\n')
    assert len(read_questions(str(path)).records) == 2


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("nq_open.jsonl", "nq"),
        ("nq/test.jsonl", "nq"),
        ("flashrag_triviaqa.jsonl", "triviaqa"),
        ("2wiki/dev.jsonl", "2wikimultihopqa"),
        ("Bamboogle.csv", "bamboogle"),
        ("unique.jsonl", ""),
    ],
)
def test_a_file_or_its_folder_names_the_data_set(place: str, source: str):
    assert source_of(Path(place)) == source


def test_a_refusal_names_the_keys_looked_for_and_those_seen(tmp_path: Path):
    path = written(tmp_path / "d.jsonl", '{"prompt_text": "q", "label": "x"}\n')
    with pytest.raises(DatasetError, match=r"question under .*extra_info\.question.* answers under .*golden_answers"):
        read_questions(str(path))
    with pytest.raises(DatasetError, match="seen: prompt_text, label"):
        read_questions(str(path))


@pytest.mark.parametrize("content", ["[1]", '{"data": [3]}', "[{", '{"data":\n[}'])
def test_json_that_holds_no_rows_is_refused_by_name(content: str, tmp_path: Path):
    with pytest.raises(DatasetError, match=r"d\.json.*expected"):
        read_questions(str(written(tmp_path / "d.json", content)))


def test_lists_that_are_written_as_text_are_lists():
    assert answers_in('["a b", "c"]') == ["a b", "c"]
    assert answers_in("[sic] a text") == ["[sic] a text"]


# The published files.

# File -> rows, rows with a plan, data set.
PUBLISHED = {
    "bamboogle.csv": (20, 0, "bamboogle"),
    "flashrag_bamboogle.jsonl": (40, 0, "bamboogle"),
    "flashrag_nq.jsonl": (40, 0, "nq"),
    "flashrag_popqa.jsonl": (40, 0, "popqa"),
    "flashrag_triviaqa.jsonl": (40, 0, "triviaqa"),
    "hotpotqa_hub_layout.jsonl": (5, 5, "hotpotqa"),
    "hotpotqa_official.json": (10, 10, "hotpotqa"),
    "hotpotqa_official_rows.jsonl": (10, 10, "hotpotqa"),
    "musique_official.jsonl": (1, 1, "musique"),
    "nq_open.jsonl": (1, 0, "nq"),
    "popqa_rows.jsonl": (1, 0, "popqa"),
    "squad_hub_layout.jsonl": (1, 0, "squad"),
    "squad_official.json": (1, 1, "squad"),
    "triviaqa_hub_layout.jsonl": (1, 0, "triviaqa"),
    "triviaqa_official.json": (1, 0, "triviaqa"),
}


def texts_in(value: Any) -> list[str]:
    """Every answer in a value, by a walk that knows nothing of layouts."""
    if isinstance(value, str):
        return texts_in(json.loads(value)) if value.startswith('["') else [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts_in(one)]


@needs_official
@pytest.mark.official
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_file_loads_with_all_answers_plans_and_task_types(name: str, held: Callable[[str], None]):
    path = FOLDER / "layouts" / name
    rows, planned, source = PUBLISHED[name]
    tasks = OfficialTasks(str(path), split="test")
    ids = tasks.task_ids("test")
    raw = [dict(row) for row in rows_of(path)]
    assert len(ids) == len(raw) == rows
    for task_id, row in zip(ids, raw, strict=True):
        task = tasks.load(task_id)
        given = [text for key in row if "answer" in key and key != "answerable" for text in texts_in(row[key])]
        assert given and all(exact_match(text, task.answers) == 1.0 for text in given)
        assert task.data_source == source
    assert sum(bool(tasks.load(task_id).needs) for task_id in ids) == planned
    held(f"{len(ids)} questions of {name}, {planned} with a plan")


@needs_official
@pytest.mark.official
def test_every_published_layout_is_in_the_table():
    assert sorted(PUBLISHED) == sorted(path.name for path in (FOLDER / "layouts").iterdir())


@needs_official
@pytest.mark.official
@pytest.mark.parametrize("name", ["hotpotqa_official.json", "hotpotqa_hub_layout.jsonl"])
def test_hotpotqas_kinds_are_the_task_types(name: str):
    path = FOLDER / "layouts" / name
    tasks = OfficialTasks(str(path), split="valid")
    expected = {"comparison": "compare", "bridge": "multi_hop"}
    kinds = [expected[row["type"]] for row in rows_of(path)]
    assert [tasks.load(task_id).task_type for task_id in tasks.task_ids("valid")] == kinds
